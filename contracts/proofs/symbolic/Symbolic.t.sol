// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import "../src/Codec.sol";
import "./Artefacts.sol";

interface Store {
    function store(address, bytes32, bytes32) external;
    function load(address, bytes32) external view returns (bytes32);
}

/// A contract account that says yes to every signature (ERC-1271), so that a check fails for the reason it names and no other.
contract Yes {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return 0x1626ba7e;
    }

    receive() external payable {}
}

/// Symbolic checks of the compiled contracts: callers, amounts, times and words are any. Artefacts.sol (creation code and storage slots) is
/// made from the committed artefacts by tests/proofs/test_symbolic.py.
contract Symbolic {
    address constant GOVERNOR = address(0xA1);
    address constant OPERATOR = address(0xB1);
    uint256 constant STAKE = 1 ether;
    bytes32 constant MEASUREMENT = keccak256("measurement");
    IRegistry registry;
    ILedger ledger;
    IExchange exchange;
    IGrants grants;
    IChallenges challenges;
    bytes32 node;
    bytes32 tee;
    address yes;

    function setUp() public {
        uint8[] memory vendors = new uint8[](0);
        MeasurementEntry[] memory entries = new MeasurementEntry[](0);
        registry = IRegistry(
            create(Artefacts.NODE_REGISTRY(), abi.encode(GOVERNOR, true, STAKE, 0, vendors, entries))
        );
        address[] memory tokens = new address[](0);
        ledger = ILedger(create(Artefacts.ASSET_LEDGER(), abi.encode(GOVERNOR, true, address(registry), 0, 1000, 0, tokens)));
        // Stand-ins for the two that come later: the Exchange only compares their addresses.
        exchange = IExchange(
            create(
                Artefacts.EXCHANGE(),
                abi.encode(ledger, registry, address(0x6A), address(0xC4), true, Fees(300, 50, 100, 100), 60, 300)
            )
        );
        vm.prank(GOVERNOR);
        registry.list_exchange(address(exchange));
        vm.deal(OPERATOR, 100 ether);
        vm.prank(OPERATOR);
        node = registry.register{value: STAKE}(
            bytes32(uint256(1)), 3, Epoch(0, 0, address(0x51), 0, 0, 0, 0, type(uint32).max), ""
        );
        vm.prank(GOVERNOR);
        ledger.list_exchange(address(exchange));
        vm.prank(GOVERNOR);
        registry.list_vendor(255);
        vm.prank(GOVERNOR);
        registry.list_measurement(255, MEASUREMENT);
        vm.prank(OPERATOR);
        tee = registry.register{value: STAKE}(
            bytes32(uint256(2)), 2, Epoch(0, 0, address(0x52), 255, MEASUREMENT, 0, 0, type(uint32).max), ""
        );
        yes = address(new Yes());
        vm.deal(address(exchange), 1 ether);
    }

    function fund(address owner) private returns (bytes32 account) {
        account = bytes32(uint256(uint160(owner)));
        put(address(exchange), keccak256(abi.encode(slot(Slots.BALANCES, 0), account)), 1 ether + 1);
    }

    function create(bytes memory code, bytes memory arguments) private returns (address made) {
        bytes memory all = abi.encodePacked(code, arguments);
        assembly { made := create(0, add(all, 32), mload(all)) }
        require(made != address(0), "create");
    }

    function refused(address caller, address target, bytes memory data) private {
        vm.prank(caller);
        (bool went,) = target.call(data);
        assert(!went);
    }

    function slot(uint256 at, bytes32 key) private pure returns (bytes32) {
        return keccak256(abi.encode(at, key));
    }

    function put(address target, bytes32 place, uint256 value) private {
        Store(address(vm)).store(target, place, bytes32(value));
    }

    // Access: the governor's verbs

    function check_access_list_vendor(address c, uint8 v) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.list_vendor, (v)));
    }

    function check_access_remove_vendor(address c, uint8 v) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.remove_vendor, (v)));
    }

    function check_access_list_measurement(address c, uint8 v, bytes32 m) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.list_measurement, (v, m)));
    }

    function check_access_remove_measurement(address c, uint8 v, bytes32 m) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.remove_measurement, (v, m)));
    }

    function check_access_registry_list_exchange(address c, address e) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.list_exchange, (e)));
    }

    function check_access_remove_exchange(address c, address e) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.remove_exchange, (e)));
    }

    function check_access_registry_propose_governor(address c, address g) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.propose_governor, (g)));
    }

    function check_access_registry_accept_governor(address c) public {
        vm.assume(c != address(0));
        refused(c, address(registry), abi.encodeCall(IRegistry.accept_governor, ()));
    }

    function check_access_list_token(address c, address t) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(ledger), abi.encodeCall(ILedger.list_token, (t)));
    }

    function check_access_remove_token(address c, address t) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(ledger), abi.encodeCall(ILedger.remove_token, (t)));
    }

    function check_access_ledger_list_exchange(address c, address e) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(ledger), abi.encodeCall(ILedger.list_exchange, (e)));
    }

    function check_access_close_exchange(address c, address e) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(ledger), abi.encodeCall(ILedger.close_exchange, (e)));
    }

    function check_access_ledger_propose_governor(address c, address g) public {
        vm.assume(c != GOVERNOR);
        refused(c, address(ledger), abi.encodeCall(ILedger.propose_governor, (g)));
    }

    // Access: between the contracts

    function check_access_set_order(address c, bytes32 id, bytes32 b, bytes32 t, bytes32 n, uint256 status) public {
        vm.assume(c != address(0x6A));
        refused(c, address(exchange), abi.encodeCall(IExchange.set_order, (id, b, t, n, 0, 0, status, 0)));
    }

    function check_access_open_challenge(address c, bytes32 id, Terms memory t, bytes32 card) public {
        vm.assume(c != address(0xC4));
        vm.assume(t.periods < 2 ** 40);
        word(id, uint256(Codec.core(t, card, 0, 0)) | uint256(type(uint32).max) << 32 | 1 << 8 | 7);
        vm.warp(1_000_000);
        refused(c, address(exchange), abi.encodeCall(IExchange.open_challenge, (id, t, card, 0, 0)));
    }

    function check_access_close_challenge(address c, bytes32 id, Terms memory t, bytes32 card, bool met) public {
        vm.assume(c != address(0xC4));
        word(id, uint256(Codec.core(t, card, 0, 0)) | uint256(type(uint32).max) << 32 | 1 << 8 | 1 << 4 | 7);
        refused(c, address(exchange), abi.encodeCall(IExchange.close_challenge, (id, t, card, 0, 0, met)));
    }

    function one() private view returns (bytes32[] memory ids) {
        ids = new bytes32[](1);
        ids[0] = tee;
    }

    function check_access_hold(address c, uint256 until) public {
        vm.assume(c != address(exchange));
        bytes32[] memory ids = one();
        refused(c, address(registry), abi.encodeCall(IRegistry.hold, (ids, 1, until)));
    }

    function check_access_hold_for(address c, uint256 until) public {
        vm.assume(c != address(0x6A));
        bytes32[] memory ids = one();
        refused(c, address(registry), abi.encodeCall(IRegistry.hold_for, (address(exchange), ids, 1, until)));
    }

    function check_access_slash(address c, uint256 amount, address to) public {
        vm.assume(c != address(0xC4));
        bytes32[] memory ids = one();
        refused(c, address(registry), abi.encodeCall(IRegistry.slash, (address(exchange), ids, amount, to)));
    }

    function check_access_ledger_hold(address c, bytes32 asset, uint256 until) public {
        vm.assume(c != address(exchange));
        refused(c, address(ledger), abi.encodeCall(ILedger.hold, (asset, until)));
    }

    function check_access_withdraw(address c) public {
        vm.assume(c != OPERATOR);
        refused(c, address(registry), abi.encodeCall(IRegistry.withdraw, (node)));
    }

    function check_access_renew(address c, bytes32 endpoint, uint64 expires) public {
        vm.assume(c != OPERATOR);
        Epoch memory e = Epoch(endpoint, 0, address(0x51), 0, 0, 0, 0, expires);
        refused(c, address(registry), abi.encodeCall(IRegistry.renew, (node, e, "")));
    }

    function check_access_claim(address c) public {
        vm.assume(c != OPERATOR);
        bytes32 account = fund(OPERATOR);
        refused(c, address(exchange), abi.encodeCall(IExchange.claim, (address(0), account, "")));
    }

    // Conservation

    function check_conservation_add_stake(uint256 amount) public {
        vm.assume(amount < 10 ether);
        uint256 before = address(registry).balance;
        vm.prank(OPERATOR);
        registry.add_stake{value: amount}(node);
        assert(registry.node(node).stake == STAKE + amount && address(registry).balance == before + amount);
    }

    function check_conservation_slash(uint256 amount, address to) public {
        bytes32[] memory ids = one();
        uint256 owed = registry.claimable(to);
        vm.prank(address(0xC4));
        registry.slash(address(exchange), ids, amount, to);
        uint256 left = registry.node(tee).stake;
        assert(left <= STAKE && registry.claimable(to) - owed == STAKE - left);
        assert(STAKE - left == (amount < STAKE ? amount : STAKE));
    }

    function check_conservation_withdraw() public {
        uint256 before = OPERATOR.balance;
        vm.prank(OPERATOR);
        registry.withdraw(node);
        assert(OPERATOR.balance == before + STAKE && registry.node(node).stake == 0);
        refusedStake();
    }

    function refusedStake() private {
        vm.deal(address(0xEE), 1 ether);
        vm.prank(address(0xEE));
        (bool went,) = address(registry).call{value: 1}(abi.encodeCall(IRegistry.add_stake, (node)));
        assert(!went);
    }

    function check_conservation_claim(uint96 amount) public {
        vm.assume(amount > 0);
        bytes32 account = bytes32(uint256(uint160(OPERATOR)));
        put(address(exchange), keccak256(abi.encode(slot(Slots.BALANCES, 0), account)), uint256(amount) + 1);
        vm.deal(address(exchange), amount);
        uint256 before = OPERATOR.balance;
        vm.prank(OPERATOR);
        exchange.claim(address(0), account, "");
        assert(OPERATOR.balance == before + amount && exchange.balance_of(address(0), account) == 0);
        refused(OPERATOR, address(exchange), abi.encodeCall(IExchange.claim, (address(0), account, "")));
    }

    function check_conservation_open_balance(address token, bytes32 account) public {
        exchange.open_balance(token, account);
        assert(exchange.balance_of(token, account) == 0);
        refused(address(1), address(exchange), abi.encodeCall(IExchange.open_balance, (token, account)));
    }

    // Deadlines

    function word(bytes32 id, uint256 value) private {
        put(address(exchange), slot(Slots.WORDS, id), value);
    }

    function check_deadline_expire_before(bytes32 id, uint192 core, uint8 state, uint32 deadline, uint32 time) public {
        vm.assume(time < deadline);
        word(id, uint256(core) << 64 | uint256(deadline) << 32 | uint256(state & 15));
        vm.warp(time);
        refused(address(1), address(exchange), abi.encodeCall(IExchange.expire, (id)));
    }

    function check_deadline_expire_after(bytes32 id, uint192 core, bool approved, uint32 deadline, uint32 time) public {
        vm.assume(time >= deadline);
        word(id, uint256(core) << 64 | uint256(deadline) << 32 | (approved ? 2 : 1));
        vm.warp(time);
        exchange.expire(id);
        (bytes32 kept, uint256 status) = exchange.order(id);
        assert(uint256(kept) >> 64 == core && status == 5);
    }

    function check_deadline_expire_only_open_orders(bytes32 id, uint192 core, uint64 status, uint32 time) public {
        vm.assume(status & 15 != 1 && status & 15 != 2);
        word(id, uint256(core) << 64 | status);
        vm.warp(time);
        refused(address(1), address(exchange), abi.encodeCall(IExchange.expire, (id)));
    }

    function check_deadline_withdraw_busy(uint32 time, uint32 busy) public {
        vm.assume(time < busy);
        bytes32 place = slot(Slots.NODES, node);
        uint256 live = uint256(Store(address(vm)).load(address(registry), place));
        put(address(registry), place, (live & (2 ** 224 - 1)) | uint256(busy) << 224);
        vm.warp(time);
        refused(OPERATOR, address(registry), abi.encodeCall(IRegistry.withdraw, (node)));
    }

    // One-shot signatures

    function late(address account, uint256 nonce, uint64 deadline, bytes32 r, bytes32 s) private pure returns (bytes memory) {
        return abi.encodePacked(account, nonce, deadline, r, s, uint8(27));
    }

    function check_signature_late(uint256 nonce, uint64 deadline, bytes32 r, bytes32 s) public {
        vm.assume(deadline < 1_000_000);
        vm.warp(1_000_000);
        bytes memory authority = late(yes, nonce, deadline, r, s);
        refused(address(1), address(exchange), abi.encodeCall(IExchange.claim, (address(0), fund(yes), authority)));
    }

    function check_signature_used(uint256 nonce, uint256 used, bytes32 r, bytes32 s) public {
        vm.assume(used >> (nonce & 255) & 1 == 1);
        bytes32 place = keccak256(abi.encode(slot(Slots.USED, bytes32(uint256(uint160(yes)))), nonce >> 8));
        put(address(exchange), place, used);
        bytes memory authority = late(yes, nonce, type(uint64).max, r, s);
        refused(address(1), address(exchange), abi.encodeCall(IExchange.claim, (address(0), fund(yes), authority)));
    }

    function check_signature_uses_its_nonce_up(uint256 nonce, bytes32 r, bytes32 s) public {
        bytes memory authority = late(yes, nonce, type(uint64).max, r, s);
        exchange.claim(address(0), fund(yes), authority);
        assert(exchange.nonce_used(yes, nonce));
        refused(address(1), address(exchange), abi.encodeCall(IExchange.claim, (address(0), fund(yes), authority)));
    }

    function check_signature_malleable(uint256 nonce, bytes32 r, uint256 s) public {
        vm.assume(s > 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0);
        bytes memory authority = late(address(0xABCDEF), nonce, type(uint64).max, r, bytes32(s));
        bytes32 account = fund(address(0xABCDEF));
        refused(address(1), address(exchange), abi.encodeCall(IExchange.claim, (address(0), account, authority)));
    }
}
