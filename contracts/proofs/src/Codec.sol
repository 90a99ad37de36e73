// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

// The ABI of the contracts and the layouts of spec/contracts.md, sections 2 to 5: the one place of this harness that knows them.

interface Vm {
    function addr(uint256) external view returns (address);
    function sign(uint256, bytes32) external pure returns (uint8, bytes32, bytes32);
    function prank(address) external;
    function warp(uint256) external;
    function deal(address, uint256) external;
    function chainId(uint256) external;
    function assume(bool) external pure;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function readFile(string calldata) external view returns (string memory);
    function parseJsonBytes(string calldata, string calldata) external pure returns (bytes memory);
    function snapshotState() external returns (uint256);
    function revertToState(uint256) external returns (bool);
    function getNonce(address) external view returns (uint64);
    function createWallet(uint256) external returns (Wallet memory);

    struct Wallet {
        address addr;
        uint256 publicKeyX;
        uint256 publicKeyY;
        uint256 privateKey;
    }

    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

struct Offer {
    uint256 price;
    address token;
    bytes32 terms;
    uint256 periods;
    bytes32 card;
}

struct OfferTerms {
    uint256 price;
    address token;
    bytes32 terms;
    uint256 periods;
}

/// The arguments of `list_asset`, in their order.
struct Listing {
    address provider;
    bytes header;
    bytes capsule;
    bytes package;
    bytes keys;
    bytes32 pq_commit;
    bytes32 body_digest;
    uint64 body_length;
    bytes32 description;
    OfferTerms offer;
    bytes32 supersedes;
    bytes stored;
    bytes authority;
}

struct Terms {
    bytes32 asset_id;
    address provider;
    address consumer;
    address fetch_signer;
    address token;
    uint256 price;
    uint256 periods;
    uint8 pk_b_sign;
    bytes32 pk_b_x;
}

struct KeyParts {
    bytes32 points;
    uint8 pk_a_sign;
    bytes32 pk_a_x;
    address signer;
    bytes32 credits;
}

/// The arguments of `approve`, in their order.
struct Approval {
    bytes32 order_id;
    Terms terms;
    KeyParts parts;
    uint8 threshold;
    bytes precursor;
    bytes shares;
    bytes sealed_shares;
    bytes sealed_kpq;
    bytes32 reply;
    uint64 reply_length;
    bytes authority;
}

struct Epoch {
    bytes32 endpoint;
    uint64 endpoint_length;
    address signing_key;
    uint8 vendor;
    bytes32 measurement;
    bytes32 platform;
    bytes32 evidence;
    uint64 expires_at;
}

struct NodeView {
    address operator;
    uint8 kind;
    uint64 epoch;
    address signing_key;
    uint8 vendor;
    bytes32 measurement;
    uint64 expires_at;
    uint64 busy_until;
    uint256 stake;
    bool withdrawn;
    bool live;
}

struct Fees {
    uint256 tee;
    uint256 recorder;
    uint256 light;
    uint256 storage_nodes;
}

struct MeasurementEntry {
    uint8 vendor;
    bytes32 measurement;
}

struct Challenge {
    address challenger;
    uint256 bond;
    uint64 answer_by;
    uint16 answered;
    bool met;
}

interface IRegistry {
    function register(bytes32, uint8, Epoch calldata, bytes calldata) external payable returns (bytes32);
    function renew(bytes32, Epoch calldata, bytes calldata) external;
    function add_stake(bytes32) external payable;
    function withdraw(bytes32) external;
    function collect(address) external;
    function list_exchange(address) external;
    function remove_exchange(address) external;
    function list_measurement(uint8, bytes32) external;
    function remove_measurement(uint8, bytes32) external;
    function list_vendor(uint8) external;
    function remove_vendor(uint8) external;
    function propose_governor(address) external;
    function accept_governor() external;
    function hold(bytes32[] calldata, uint256, uint256) external;
    function hold_for(address, bytes32[] calldata, uint256, uint256) external;
    function slash(address, bytes32[] calldata, uint256, address) external;
    function node(bytes32) external view returns (NodeView memory);
    function claimable(address) external view returns (uint256);
    function minimum_stake() external view returns (uint256);
    function governor() external view returns (address);
}

interface ILedger {
    function set_profile(address, bytes32, address, address, bytes calldata) external;
    function propose_change(address, address, address, address, bytes calldata) external;
    function cancel_change(address, bytes calldata) external;
    function apply_change(address, address, address, address) external;
    function list_asset(
        address, bytes calldata, bytes calldata, bytes calldata, bytes calldata, bytes32, bytes32, uint64, bytes32,
        OfferTerms calldata, bytes32, bytes calldata, bytes calldata
    ) external returns (bytes32);
    function set_offer(bytes32, address, Offer calldata, Offer calldata, bytes calldata) external;
    function retire(bytes32, address, bytes32, bytes calldata) external;
    function hold(bytes32, uint256) external;
    function list_exchange(address) external;
    function close_exchange(address) external;
    function list_token(address) external;
    function remove_token(address) external;
    function propose_governor(address) external;
    function asset(bytes32) external view returns (bytes32, uint8, uint64);
    function payee_of(address) external view returns (address);
    function domain_separator() external view returns (bytes32);
    function governor() external view returns (address);
}

interface IExchange {
    function request(
        bytes32, address, Offer calldata, address, uint8, bytes32, bytes32, bytes32, uint64, bytes32, bytes calldata
    ) external returns (bytes32);
    function cancel(bytes32, Terms calldata, bytes32, bytes32, bytes calldata) external;
    function expire(bytes32) external;
    function pay(
        bytes32, Terms calldata, bytes32, bytes calldata, bytes calldata, bytes calldata, bytes calldata
    ) external payable;
    function record_delivery(
        bytes32, Terms calldata, bytes32, bytes calldata, bytes32, bytes calldata, bytes calldata, bytes calldata,
        bytes calldata, bytes32
    ) external;
    function settle(
        bytes32, Terms calldata, bytes32, bytes calldata, bytes32, bytes calldata, bytes32, bytes calldata
    ) external;
    function agree_refund(bytes32, Terms calldata, bytes32, bytes32, bytes32, bytes calldata, bytes calldata) external;
    function refund(bytes32, Terms calldata, bytes32, bytes32, bytes32, bool) external;
    function open_balance(address, bytes32) external;
    function claim(address, bytes32, bytes calldata) external;
    function set_order(bytes32, bytes32, bytes32, bytes32, bytes32, bytes32, uint256, bytes32) external;
    function open_challenge(bytes32, Terms calldata, bytes32, bytes32, bytes32) external returns (uint256);
    function close_challenge(bytes32, Terms calldata, bytes32, bytes32, bytes32, bool) external;
    function order(bytes32) external view returns (bytes32, uint256);
    function past(bytes32, bytes32) external view returns (bool);
    function balance_of(address, bytes32) external view returns (uint256);
    function nonce_used(address, uint256) external view returns (bool);
    function domain_separator() external view returns (bytes32);
    function grace_seconds() external view returns (uint256);
}

/// The arguments of `accept_receipts`, in their order.
struct Acceptance {
    bytes32 order_id;
    Terms terms;
    bytes32 key_commitment;
    bytes credits;
    bytes table;
    bytes32 current_table;
    bytes progress;
    bytes fetch;
    bytes receipts;
    bytes old_rows;
    bytes32 recorder;
    bytes authority;
}

interface IGrants {
    function approve(
        bytes32, Terms calldata, KeyParts calldata, uint8, bytes calldata, bytes calldata, bytes calldata,
        bytes calldata, bytes32, uint64, bytes calldata
    ) external;
    function deny(bytes32, Terms calldata, bytes32, bytes32, uint64, bytes calldata) external;
    function revoke(bytes32, Terms calldata, bytes32, bytes32, bytes32, bytes calldata) external;
    function reseal(
        bytes32, Terms calldata, bytes32, bytes calldata, bytes calldata, uint8, bytes calldata, bytes calldata,
        bytes calldata, bytes calldata
    ) external;
}

interface IChallenges {
    function challenge(bytes32, Terms calldata, bytes32, bytes calldata, bytes32, bytes calldata) external payable;
    function close(bytes32, Terms calldata, bytes32, bytes calldata, bytes calldata) external;
    function withdraw(address) external;
    function challenge_of(bytes32) external view returns (Challenge memory);
    function withdrawable(address) external view returns (uint256);
    function bond_of(uint8) external view returns (uint256);
}

library Codec {
    bytes4 constant ACCEPT_RECEIPTS = bytes4(
        keccak256(
            "accept_receipts(bytes32,(bytes32,address,address,address,address,uint256,uint256,uint8,bytes32),bytes32,bytes,bytes,bytes32,bytes,bytes,bytes,bytes,bytes32,bytes)"
        )
    );

    bytes32 constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 constant ACCEPT_TYPE = keccak256(
        "Accept(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 kemKey,bytes32 node,uint64 epoch)"
    );
    bytes32 constant FETCH_TYPE = keccak256("Fetch(bytes32 order,uint32 generation)");
    bytes32 constant RECEIPT_TYPE = keccak256(
        "Receipt(bytes32 order,uint32 generation,uint8 slot,bytes32 kfrag,bytes32 cfrag,bytes32 fetch,uint64 blockNumber,bytes32 blockHash,bytes32 node,uint64 epoch)"
    );
    bytes32 constant CANCEL_TYPE = keccak256("Cancel(bytes32 order,uint256 nonce,uint64 deadline)");
    bytes32 constant AGREE_REFUND_TYPE = keccak256("AgreeRefund(bytes32 order,uint256 nonce,uint64 deadline)");
    bytes32 constant CLAIM_TYPE = keccak256("Claim(bytes32 account,address token,uint256 nonce,uint64 deadline)");
    bytes32 constant STORAGE_TYPE = keccak256(
        "StorageReceipt(bytes32 body,uint64 length,bytes32[] nodes,uint64 blockNumber,bytes32 light,uint64 epoch)"
    );

    function digest(address target, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPE, keccak256("asset-bridge"), keccak256("1"), block.chainid, target)
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function compact(uint256 key, bytes32 message) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, message);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    function authority(uint256 key, address account, address target, bytes memory head, uint256 nonce, uint64 deadline)
        internal view returns (bytes memory)
    {
        bytes32 message = digest(target, keccak256(abi.encodePacked(head, abi.encode(nonce, uint256(deadline)))));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, message);
        return abi.encodePacked(account, nonce, deadline, r, s, v);
    }

    function basis(Terms memory t, bytes32 itsCard) internal pure returns (bytes32) {
        return keccak256(abi.encode(t, itsCard));
    }

    function core(Terms memory t, bytes32 itsCard, bytes32 itsTable, bytes32 itsProgress) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(basis(t, itsCard), itsTable, itsProgress)) & ~bytes32(uint256(2 ** 64 - 1));
    }

    function tableHash(Terms memory t, bytes memory table) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(t.pk_b_sign, t.pk_b_x, table));
    }

    function commitment(KeyParts memory p) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(p.points, p.pk_a_sign, p.pk_a_x, p.signer));
    }

    function card(KeyParts memory p) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(commitment(p), p.credits));
    }

    function word(bytes memory data, uint256 place) internal pure returns (bytes32 out) {
        assembly { out := mload(add(add(data, 32), place)) }
    }

    /// A call whose arguments are one struct: their encoding is the struct's without its offset.
    function callOf(bytes4 selector, bytes memory encoded) internal pure returns (bytes memory) {
        return abi.encodePacked(selector, cut(encoded, 32, encoded.length - 32));
    }

    function cut(bytes memory data, uint256 from, uint256 size) internal pure returns (bytes memory out) {
        require(from + size <= data.length, "cut");
        out = new bytes(size);
        assembly { mcopy(add(out, 32), add(add(data, 32), from), size) }
    }
}
