// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import "./Handler.sol";

/// The fifteen invariants of the contracts, each looked at after every call of the Handler.
contract Invariants {
    Handler h;
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    address consumer;
    address governor;

    function setUp() public {
        h = new Handler();
        consumer = vm.addr(0xC1);
        governor = vm.addr(0xA1);
    }

    /// Eight orders, others after each call; all of them at the end of a sequence.
    function window(uint256 n) private view returns (uint256 from, uint256 to) {
        from = all || n < 9 ? 0 : (n * 13 + block.timestamp) % (n - 8);
        to = all || n < 9 ? n : from + 8;
    }

    bool all;

    function afterInvariant() public {
        all = true;
        (bytes32[] memory ids, uint256[] memory words) = h.words();
        check_I01_solvent();
        check_I02_one_end_and_exact_payout(ids);
        check_I05_states_never_go_back(ids, words);
        check_I12_events_rebuild_storage(ids);
        check_I15_terms_are_fixed(ids, words);
    }

    function targetContracts() public view returns (address[] memory out) {
        out = new address[](1);
        out[0] = address(h);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory out) {
        bytes4[] memory s = new bytes4[](22);
        s[0] = Handler.request.selector;
        s[1] = Handler.approve.selector;
        s[2] = Handler.deny.selector;
        s[3] = Handler.cancel.selector;
        s[4] = Handler.expire.selector;
        s[5] = Handler.pay.selector;
        s[6] = Handler.deliver.selector;
        s[7] = Handler.acceptDelivery.selector;
        s[8] = Handler.settleLate.selector;
        s[9] = Handler.refund.selector;
        s[10] = Handler.agreeRefund.selector;
        s[11] = Handler.revoke.selector;
        s[12] = Handler.challenge.selector;
        s[13] = Handler.closeChallenge.selector;
        s[14] = Handler.claim.selector;
        s[15] = Handler.takeOut.selector;
        s[16] = Handler.addStake.selector;
        s[17] = Handler.setOffer.selector;
        s[18] = Handler.wait_.selector;
        s[19] = Handler.misuse.selector;
        s[20] = Handler.replay.selector;
        s[21] = Handler.acceptReceipts.selector;
        out = new FuzzSelector[](1);
        out[0] = FuzzSelector(address(h), s);
    }

    function unbroken(string memory name) private view {
        string memory what = h.broken(name);
        require(bytes(what).length == 0, string.concat(name, ": ", what));
    }

    /// Coins held are exactly escrow and credits, stakes and slashed stakes, bonds and rewards.
    function check_I01_solvent() public view {
        require(address(h.exchange()).balance == h.escrow() + h.owedTotal(), "Exchange");
        require(address(h.registry()).balance == h.stakes() + h.claimables(), "NodeRegistry");
        require(address(h.challenges()).balance == h.bonds() + h.withdrawables(), "Challenges");
        require(address(h.grants()).balance + address(h.ledger()).balance + h.verifier().balance == 0, "others hold coins");
    }

    /// An order ends once; what is paid out of it is its price.
    function check_I02_one_end_and_exact_payout(bytes32[] memory ids) private view {
        unbroken("I2");
        (uint256 from, uint256 to) = window(ids.length);
        for (uint256 i = from; i < to; i++) {
            Ghost.Facts memory f = h.factsOf(ids[i]);
            bool over = f.state == 9 || f.state == 10;
            require(f.endings <= 1 && f.paidOut == (over ? f.price : 0), "payout");
        }
    }

    uint256 constant NONE = type(uint256).max;

    /// An order whose word has these bits in its low nine, another one after each call; NONE where there is none.
    function some(uint256[] memory words, uint256 mask, uint256 bits) private view returns (uint256) {
        uint256 n = words.length;
        for (uint256 k = 0; k < n; k++) {
            uint256 i = (n * 7 + block.timestamp + k) % n;
            if (words[i] & mask == bits) return i;
        }
        return NONE;
    }

    /// Past the deadline the consumer alone gets the price back, in one transaction.
    function check_I03_refund_is_always_there(uint256 paid) external {
        refundAlone(h.book(paid));
    }

    function refundAlone(Handler.Book memory b) private {
        uint256 moment = h.deadlineOf(b.id) + h.exchange().grace_seconds();
        if (moment > block.timestamp) vm.warp(moment);
        uint256 before = consumer.balance + h.owed(bytes32(uint256(uint160(consumer))));
        bytes32 table = Codec.tableHash(b.terms, b.table);
        IExchange exchange = h.exchange();
        bytes32 card = h.card(b.asset);
        vm.prank(consumer);
        exchange.refund(b.id, b.terms, card, table, keccak256(b.progress), true);
        require(consumer.balance == before + b.terms.price, "the price did not come back");
    }

    /// After a delivery and its window the provider alone makes the order pay.
    function check_I04_provider_gets_paid(uint256 delivered) external {
        settleAlone(h.book(delivered));
    }

    function settleAlone(Handler.Book memory b) private {
        uint256 moment = h.deadlineOf(b.id);
        if (moment > block.timestamp) vm.warp(moment);
        bytes32 account = bytes32(uint256(uint160(b.terms.provider)));
        uint256 before = b.terms.provider.balance + h.owed(account);
        bytes32 table = Codec.tableHash(b.terms, b.table);
        IExchange exchange = h.exchange();
        bytes32 commitment = Codec.commitment(h.partsOf(b.asset));
        bytes memory credits = h.creditsOf(b.asset);
        vm.prank(b.terms.provider);
        exchange.settle(b.id, b.terms, commitment, credits, table, b.progress, account, "");
        uint256 got = b.terms.provider.balance - before;
        require(got <= b.terms.price && got >= b.terms.price * 9450 / 10_000, "the provider's part");
    }

    /// States follow each other as the table says, and an order's word changes by its own calls only.
    function check_I05_states_never_go_back(bytes32[] memory ids, uint256[] memory words) private view {
        unbroken("I5");
        (uint256 from, uint256 to) = window(ids.length);
        for (uint256 i = from; i < to; i++) {
            require(h.rawWord(ids[i]) == words[i], "an order changed without a call of its own");
        }
    }

    /// No delivery without the approval's nodes and the consumer's fetch.
    function check_I06_delivery_needs_the_approval() public view {
        unbroken("I6");
    }

    /// A signature counts once, in time, here.
    function check_I07_one_shot_signatures() public view {
        unbroken("I7");
    }

    /// Each function is its role's alone.
    function check_I08_roles() public view {
        unbroken("I8");
        require(h.registry().governor() == governor && h.ledger().governor() == governor, "governor");
    }

    /// A revocation blocks new access and never a refund.
    function check_I09_revocation(uint256 revoked) external {
        refundAlone(h.book(revoked));
    }

    /// With every stop pulled at once, refund, settlement and claim go on.
    function check_I10_stops_never_block_exits(uint256 paid, uint256 delivered) external {
        IRegistry registry = h.registry();
        ILedger ledger = h.ledger();
        address exchange = address(h.exchange());
        vm.prank(governor);
        ledger.close_exchange(exchange);
        vm.prank(governor);
        registry.remove_exchange(exchange);
        vm.prank(governor);
        registry.remove_measurement(255, keccak256("measurement"));
        vm.prank(governor);
        registry.remove_vendor(255);
        if (delivered != NONE) settleAlone(h.book(delivered));
        if (paid != NONE) refundAlone(h.book(paid));
        (bytes32[] memory accounts,) = h.debts();
        for (uint256 i = 0; i < 4 && i < accounts.length; i++) {
            bytes32 account = accounts[i];
            if (uint256(account) >> 160 == 0 || h.owed(account) == 0) continue;
            address operator = registry.node(account).operator;
            vm.prank(operator);
            IExchange(exchange).claim(address(0), account, "");
        }
    }

    /// The dearest call so far stays under its cap, however many orders there are.
    function check_I11_gas_caps() public view {
        require(h.gasOf("request") < 400_000 && h.gasOf("approve") < 1_500_000, "request or approve");
        require(h.gasOf("pay") < 1_000_000 && h.gasOf("record_delivery") < 1_000_000, "pay or record_delivery");
        require(h.gasOf("settle") < 1_000_000, "settle");
    }

    /// The events alone give every state, balance and stake.
    function check_I12_events_rebuild_storage(bytes32[] memory ids) private view {
        (uint256 from, uint256 to) = window(ids.length);
        for (uint256 i = from; i < to; i++) {
            require(h.factsOf(ids[i]).state == h.stateOf(ids[i]), "state");
        }
        (bytes32[] memory accounts, uint256[] memory due) = h.debts();
        IExchange exchange = h.exchange();
        for (uint256 i = 0; i < accounts.length; i++) {
            require(exchange.balance_of(address(0), accounts[i]) == due[i], "balance");
        }
        IRegistry registry = h.registry();
        for (uint256 i = 0; i < 8; i++) {
            bytes32 node = h.nodes(i);
            require(registry.node(node).stake == h.stakeOf(node), "stake");
        }
        require(h.registry().claimable(consumer) == h.claimableOf(consumer), "slashed stake");
        require(h.challenges().withdrawable(consumer) == h.withdrawableOf(consumer), "bonds");
    }

    /// Every event is one of the specification's, none of which holds text.
    function check_I13_no_free_text() public view {
        unbroken("I13");
    }

    /// A slash takes at most the stake, of nodes that accepted an order.
    function check_I14_slash() public view {
        unbroken("I14");
        for (uint256 i = 0; i < 4; i++) {
            require(h.registry().node(h.nodes(i)).stake >= 1 ether, "a light or storage node lost stake");
        }
    }

    /// What an order commits to is what was agreed, whatever became of the listing.
    function check_I15_terms_are_fixed(bytes32[] memory ids, uint256[] memory words) private view {
        unbroken("I15");
        (uint256 from, uint256 to) = window(ids.length);
        for (uint256 i = from; i < to; i++) {
            require(h.rawWord(ids[i]) >> 64 == words[i] >> 64, "another core");
        }
    }
    /// All fifteen, after every call. Those that act (a refund, a payout, every stop pulled) are undone before the next one.
    function invariant_all_fifteen() public {
        (bytes32[] memory ids, uint256[] memory words) = h.words();
        uint256 paid = some(words, 15, 6);
        uint256 undisputed = some(words, 63, 7);
        uint256 delivered = undisputed != NONE ? undisputed : some(words, 63, 7 | 3 << 4);
        uint256 revoked = some(words, 15 | 1 << 8, 8 | 1 << 8);
        check_I01_solvent();
        check_I02_one_end_and_exact_payout(ids);
        if (paid != NONE) undone(abi.encodeCall(this.check_I03_refund_is_always_there, (paid)));
        if (delivered != NONE) undone(abi.encodeCall(this.check_I04_provider_gets_paid, (delivered)));
        check_I05_states_never_go_back(ids, words);
        check_I06_delivery_needs_the_approval();
        check_I07_one_shot_signatures();
        check_I08_roles();
        unbroken("I9");
        if (revoked != NONE) undone(abi.encodeCall(this.check_I09_revocation, (revoked)));
        undone(abi.encodeCall(this.check_I10_stops_never_block_exits, (paid, delivered)));
        check_I11_gas_caps();
        check_I12_events_rebuild_storage(ids);
        check_I13_no_free_text();
        check_I14_slash();
        check_I15_terms_are_fixed(ids, words);
    }

    /// Runs a check and takes back what it did.
    function undone(bytes memory data) private {
        uint256 time = block.timestamp;
        (bool went, bytes memory answer) = address(this).call(abi.encodeCall(this.runAndRevert, (data)));
        vm.warp(time);
        require(!went, "not undone");
        if (keccak256(answer) != keccak256(abi.encodeWithSignature("Error(string)", "undone"))) {
            assembly { revert(add(answer, 32), mload(answer)) }
        }
    }

    function runAndRevert(bytes calldata data) external {
        (bool went, bytes memory answer) = address(this).call(data);
        if (!went) assembly { revert(add(answer, 32), mload(answer)) }
        revert("undone");
    }
}
