// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import "./Codec.sol";

/// The compiled contracts, deployed from the committed artefacts, with nodes, assets and the messages that each role signs.
contract Scene {
    uint256 constant GOVERNOR = 0xA1;
    uint256 constant PROVIDER = 0xB1;
    uint256 constant CONSUMER = 0xC1;
    uint256 constant RECORDER = 0xD1;
    uint256 constant STRANGER = 0xE1;
    uint256 constant KFRAG_SIGNER = 0x51;
    uint256 constant STAKE = 1 ether;
    uint256 constant DEPOSIT = 0.01 ether;
    uint256 constant NODES = 8; // 1 light, 3 storage, 4 TEE
    uint8 constant SIMULATED = 255;
    bytes32 constant MEASUREMENT = keccak256("measurement");
    uint256 constant PERIODS = 1000 << 160 | 1000 << 128 | 1000 << 96 | 500 << 64 | 400 << 32 | 100_000;

    struct Book {
        bytes32 id;
        Terms terms;
        uint256 asset;
        bytes table;
        bytes progress;
    }

    IRegistry public registry;
    ILedger public ledger;
    IExchange public exchange;
    IGrants public grants;
    IChallenges public challenges;
    address public verifier;
    address[6] public contracts;

    bytes32[NODES] public nodes;
    bytes32[2] public assets;
    uint256[2] public prices;
    KeyParts[2] parts_;
    bytes[2] credits_;
    Book[] books;
    uint256 counter;

    mapping(uint256 => address) private addresses;

    /// The address of a key; asked of forge once.
    function who(uint256 secret) public returns (address) {
        if (addresses[secret] == address(0)) addresses[secret] = vm.addr(secret);
        return addresses[secret];
    }

    function key(uint256 node) public pure returns (uint256) {
        return 0x1000 + node;
    }

    function operatorKey(uint256 node) public pure returns (uint256) {
        return 0x2000 + node;
    }

    function deploy() internal {
        registry = IRegistry(create("NodeRegistry", registryArguments()));
        address[] memory tokens = new address[](0);
        ledger = ILedger(
            create(
                "AssetLedger",
                abi.encode(who(GOVERNOR), true, address(registry), 0, 1000, 0, tokens)
            )
        );
        verifier = create("ReencryptionVerifier", "");
        uint64 nonce = vm.getNonce(address(this));
        address grantsAt = later(nonce + 1);
        address challengesAt = later(nonce + 2);
        exchange = IExchange(
            create(
                "Exchange",
                abi.encode(
                    address(ledger), address(registry), grantsAt, challengesAt, true, Fees(300, 50, 100, 100), 60, 300
                )
            )
        );
        grants = IGrants(create("Grants", abi.encode(address(exchange))));
        challenges = IChallenges(create("Challenges", abi.encode(address(exchange), verifier, DEPOSIT)));
        require(address(grants) == grantsAt && address(challenges) == challengesAt, "order of deployment");
        contracts = [
            address(registry), address(ledger), address(exchange), address(grants), address(challenges), verifier
        ];
        vm.prank(who(GOVERNOR));
        registry.list_exchange(address(exchange));
        vm.prank(who(GOVERNOR));
        ledger.list_exchange(address(exchange));
    }

    function registryArguments() private returns (bytes memory) {
        uint8[] memory vendors = new uint8[](1);
        vendors[0] = SIMULATED;
        MeasurementEntry[] memory entries = new MeasurementEntry[](1);
        entries[0] = MeasurementEntry(SIMULATED, MEASUREMENT);
        return abi.encode(who(GOVERNOR), true, STAKE, 0, vendors, entries);
    }

    function create(string memory name, bytes memory arguments) internal returns (address made) {
        string memory file = string.concat("../../src/asset_bridge/chain/artefacts/", name, ".json");
        bytes memory code = abi.encodePacked(vm.parseJsonBytes(vm.readFile(file), ".bytecode"), arguments);
        assembly { made := create(0, add(code, 32), mload(code)) }
        require(made != address(0), name);
    }

    function later(uint64 nonce) private view returns (address) {
        require(nonce < 128, "nonce");
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(this), uint8(nonce))))));
    }

    function populate() internal {
        for (uint256 i = 0; i < NODES; i++) {
            uint8 kind = i == 0 ? 1 : i < 4 ? 3 : 2;
            address operator = who(operatorKey(i));
            vm.deal(operator, 1000 ether);
            vm.prank(operator);
            nodes[i] = registry.register{value: STAKE}(bytes32(i), kind, epoch(i), "");
        }
        vm.deal(who(CONSUMER), 1_000_000 ether);
        vm.prank(who(PROVIDER));
        ledger.set_profile(who(PROVIDER), keccak256("profile"), who(PROVIDER), address(0), "");
        for (uint256 i = 0; i < 2; i++) list(i);
    }

    function epoch(uint256 node) internal returns (Epoch memory) {
        bool tee = node >= 4;
        return Epoch(
            keccak256("endpoint"), 500, who(key(node)), tee ? SIMULATED : 0, tee ? MEASUREMENT : bytes32(0),
            keccak256("platform"), keccak256("evidence"), type(uint32).max
        );
    }

    function fresh(string memory what) internal returns (bytes32) {
        return keccak256(abi.encode(what, ++counter));
    }

    function list(uint256 i) private {
        Listing memory made;
        made.provider = who(PROVIDER);
        made.header = new bytes(128);
        made.capsule = abi.encodePacked(uint8(2), fresh("E"), uint8(3), fresh("V"), fresh("s"));
        made.package = new bytes(137);
        made.keys = keysOf(i, keccak256(Codec.cut(made.capsule, 0, 66)));
        made.pq_commit = fresh("pq");
        made.body_digest = fresh("body");
        made.body_length = 1_000_000;
        made.description = fresh("description");
        prices[i] = 1 ether + 7;
        made.offer = OfferTerms(prices[i], address(0), "terms", PERIODS);
        made.stored = storageReceipt(i, made.body_digest);
        parts_[i].credits = keccak256(credits_[i]);
        vm.prank(who(PROVIDER));
        (bool went, bytes memory answer) = address(ledger).call(
            Codec.callOf(ILedger.list_asset.selector, abi.encode(made))
        );
        require(went, "list_asset");
        assets[i] = abi.decode(answer, (bytes32));
    }

    function keysOf(uint256 i, bytes32 points) private returns (bytes memory) {
        Vm.Wallet memory signer = vm.createWallet(KFRAG_SIGNER);
        parts_[i] = KeyParts(points, 2, fresh("pk_a"), signer.addr, 0);
        bytes memory w = abi.encodePacked(uint8(2), fresh("W"), new bytes(98));
        return abi.encodePacked(
            uint8(2), parts_[i].pk_a_x, w, uint8(2 + (signer.publicKeyY & 1)), signer.publicKeyX, signer.publicKeyY
        );
    }

    function storageReceipt(uint256 i, bytes32 body) private returns (bytes memory) {
        bytes32[] memory ids = new bytes32[](3);
        for (uint256 j = 0; j < 3; j++) ids[j] = nodes[j + 1];
        for (uint256 j = 0; j < 2; j++) {
            for (uint256 k = 0; k < 2; k++) if (ids[k] > ids[k + 1]) (ids[k], ids[k + 1]) = (ids[k + 1], ids[k]);
        }
        bytes memory packed = abi.encodePacked(ids);
        credits_[i] = abi.encodePacked(nodes[0], packed);
        bytes32 message = Codec.digest(
            address(ledger),
            keccak256(abi.encode(Codec.STORAGE_TYPE, body, 1_000_000, keccak256(packed), 7, nodes[0], 1))
        );
        return abi.encodePacked(nodes[0], uint64(1), uint64(7), Codec.compact(key(0), message), packed);
    }

    // Messages of an order

    function card(uint256 asset) public view returns (bytes32) {
        return Codec.card(parts_[asset]);
    }

    function tableHash(Book memory b) internal pure returns (bytes32) {
        return b.table.length == 0 ? bytes32(0) : Codec.tableHash(b.terms, b.table);
    }

    function progressHash(Book memory b) internal pure returns (bytes32) {
        return b.progress.length == 0 ? bytes32(0) : keccak256(b.progress);
    }

    function offerOf(uint256 asset) public view returns (Offer memory) {
        return Offer(prices[asset], address(0), "terms", PERIODS, card(asset));
    }

    struct Shares {
        bytes x_a;
        bytes open;
        bytes closed;
        bytes table;
    }

    /// X_A, shares, sealed shares and the table of a 2 of 3 at the TEE nodes first, first + 1, first + 2.
    function shares(Book memory b, uint256 first) internal returns (Shares memory out) {
        out.x_a = abi.encodePacked(uint8(2), fresh("X_A"));
        out.table = abi.encodePacked(uint8(2), uint32(1), out.x_a);
        for (uint256 i = 0; i < 3; i++) share(b, out, 4 + (first + i) % 4);
    }

    function share(Book memory b, Shares memory out, uint256 node) private {
        bytes memory kfrag = abi.encodePacked(fresh("kfrag"), uint8(2), fresh("U1"));
        bytes32 kem = fresh("kem");
        bytes memory place = abi.encodePacked(nodes[node], registry.node(nodes[node]).epoch);
        bytes memory signature = Codec.compact(KFRAG_SIGNER, sha256(abi.encodePacked(kfrag, out.x_a, bound(b))));
        out.open = abi.encodePacked(out.open, place, kfrag, kem);
        out.closed = abi.encodePacked(out.closed, signature, uint40(type(uint32).max), new bytes(144));
        out.table = abi.encodePacked(out.table, place, who(key(node)), kfrag, kem);
    }

    function bound(Book memory b) private view returns (bytes memory) {
        KeyParts memory p = parts_[b.asset];
        return abi.encodePacked(uint8(1), p.pk_a_sign, p.pk_a_x, uint8(1), b.terms.pk_b_sign, b.terms.pk_b_x);
    }

    function nodeOf(Book memory b, uint256 slot) internal view returns (uint256) {
        bytes32 id = Codec.word(b.table, 38 + 157 * slot);
        for (uint256 i = 4; i < NODES; i++) if (nodes[i] == id) return i;
        revert("no such node");
    }

    function accepts(Book memory b) internal view returns (bytes memory out) {
        for (uint256 slot = 0; slot < 3; slot++) {
            bytes memory signature =
                Codec.compact(key(nodeOf(b, slot)), Codec.digest(address(exchange), acceptStruct(b, slot)));
            out = abi.encodePacked(out, uint8(slot), signature);
        }
    }

    function acceptStruct(Book memory b, uint256 slot) private pure returns (bytes32) {
        bytes memory row = Codec.cut(b.table, 38 + 157 * slot, 157);
        return keccak256(
            abi.encode(
                Codec.ACCEPT_TYPE, b.id, 1, slot, Codec.word(row, 60), Codec.word(row, 125), Codec.word(row, 0),
                uint256(Codec.word(row, 32)) >> 192
            )
        );
    }

    function fetchDigest(bytes32 id) internal view returns (bytes32) {
        return Codec.digest(address(exchange), keccak256(abi.encode(Codec.FETCH_TYPE, id, 1)));
    }

    /// Receipts of slots 0 and 1. `signedFor` is the order that the nodes signed about, `by` the shift of the signing keys.
    function receipts(Book memory b, bytes32 signedFor, uint256 by) internal view returns (bytes memory out) {
        for (uint256 slot = 0; slot < 2; slot++) {
            uint256 signer = key(4 + (nodeOf(b, slot) - 4 + by) % 4);
            bytes memory signature =
                Codec.compact(signer, Codec.digest(address(exchange), receiptStruct(b, signedFor, slot)));
            out = abi.encodePacked(out, uint8(slot), keccak256("cfrag"), uint64(99), keccak256("block"), signature);
        }
    }

    function receiptStruct(Book memory b, bytes32 signedFor, uint256 slot) private view returns (bytes32) {
        bytes memory row = Codec.cut(b.table, 38 + 157 * slot, 157);
        bytes memory head = abi.encode(Codec.RECEIPT_TYPE, signedFor, 1, slot, Codec.word(row, 60), keccak256("cfrag"));
        bytes memory tail = abi.encode(
            fetchDigest(b.id), 99, keccak256("block"), Codec.word(row, 0), uint256(Codec.word(row, 32)) >> 192
        );
        return keccak256(abi.encodePacked(head, tail));
    }
}
