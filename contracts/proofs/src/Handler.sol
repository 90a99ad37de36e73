// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import "./Ghost.sol";

/// The calls that the invariants are tried with. Each acts on an order where it fits, bringing one there where there is none, and
/// discards itself where the rules leave none; `misuse` and `replay` try what must be refused.
contract Handler is Ghost {
    uint256 constant MOST = 60;

    constructor() {
        vm.warp(1_800_000_000);
        vm.recordLogs();
        deploy();
        populate();
        fold();
    }

    modifier folded(string memory name) {
        uint256 before = gasleft();
        _;
        uint256 used = before - gasleft();
        if (used > gasOf[name]) gasOf[name] = used;
        fold();
    }

    /// Forge keeps the logs of calls that were undone; they never happened.
    function dropLogs() private {
        vm.getRecordedLogs();
    }

    function book(uint256 i) public view returns (Book memory) {
        return books[i];
    }

    function partsOf(uint256 asset) public view returns (KeyParts memory) {
        return parts_[asset];
    }

    function factsOf(bytes32 id) public view returns (Facts memory) {
        return facts[id];
    }

    // Choosing

    function fits(uint256 i, uint256 state, bool inTime) private view returns (bool) {
        uint256 status = uint64(wordOf[books[i].id]);
        return status & 15 == state && (!inTime || status >> 32 > block.timestamp);
    }

    function pick(uint256 seed, uint256 state, bool inTime) private returns (uint256) {
        uint256 n = books.length;
        for (uint256 k = 0; k < n && k < 40; k++) {
            uint256 i = (seed % n + k) % n;
            if (fits(i, state, inTime)) return i;
        }
        vm.assume(n < MOST);
        open(seed);
        if (state == REQUESTED) return n;
        give(n, seed);
        if (state == APPROVED) return n;
        settleBill(n);
        if (state == PAID) return n;
        if (state == REVOKED) {
            takeBack(n);
            return n;
        }
        record(n);
        if (state == SETTLED) accept(n);
        return n;
    }

    /// Remembers an order's word after a call about it, which must commit to what was agreed.
    function note(uint256 i) private {
        Book memory b = books[i];
        uint256 word = rawWord(b.id);
        wordOf[b.id] = word;
        bytes32 core = Codec.core(b.terms, card(b.asset), tableHash(b), progressHash(b));
        if (uint256(core) != word >> 64 << 64) fail("I15", "an order commits to something else");
    }

    // The life of an order

    function open(uint256 seed) private {
        uint256 asset = seed % 2;
        bytes32 x = fresh("pk_b");
        address consumer = who(CONSUMER);
        Offer memory offer = offerOf(asset);
        vm.prank(consumer);
        bytes32 id = exchange.request(
            assets[asset], who(PROVIDER), offer, consumer, 2, x, keccak256("hybrid"), keccak256("form"), 900,
            fresh("nonce"), ""
        );
        books.push();
        Book storage b = books[books.length - 1];
        b.id = id;
        b.asset = asset;
        b.terms = Terms(
            assets[asset], who(PROVIDER), consumer, consumer, address(0), offer.price, PERIODS, 2, x
        );
        note(books.length - 1);
    }

    function request(uint256 seed) public folded("request") {
        dropLogs();
        vm.assume(books.length < MOST);
        open(seed);
    }

    function give(uint256 i, uint256 seed) private {
        Book memory b = books[i];
        Shares memory made = shares(b, seed % 4);
        require(approveCall(b, made), "approve");
        books[i].table = made.table;
        note(i);
    }

    function approveCall(Book memory b, Shares memory made) private returns (bool went) {
        Approval memory a = Approval(
            b.id, b.terms, parts_[b.asset], 2, made.x_a, made.open, made.closed, new bytes(1168), keccak256("reply"), 5, ""
        );
        bytes memory data = Codec.callOf(IGrants.approve.selector, abi.encode(a));
        vm.prank(who(PROVIDER));
        (went,) = address(grants).call(data);
    }

    function approve(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, REQUESTED, true);
        fold();
        giveFolded(i, seed);
    }

    function giveFolded(uint256 i, uint256 seed) private folded("approve") {
        give(i, seed);
    }

    function deny(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, REQUESTED, true);
        Book memory b = books[i];
        vm.prank(who(PROVIDER));
        grants.deny(b.id, b.terms, card(b.asset), keccak256("no"), 2, "");
        note(i);
        fold();
    }

    function cancel(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, seed % 2 == 0 ? REQUESTED : APPROVED, false);
        Book memory b = books[i];
        vm.prank(who(CONSUMER));
        exchange.cancel(b.id, b.terms, card(b.asset), tableHash(b), "");
        note(i);
        fold();
    }

    function expire(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, seed % 2 == 0 ? REQUESTED : APPROVED, false);
        if (deadlineOf(books[i].id) > block.timestamp) vm.warp(deadlineOf(books[i].id));
        vm.prank(who(STRANGER));
        exchange.expire(books[i].id);
        note(i);
        fold();
    }

    function settleBill(uint256 i) private {
        Book memory b = books[i];
        bytes memory signed = accepts(b);
        vm.prank(who(CONSUMER));
        exchange.pay{value: b.terms.price}(b.id, b.terms, card(b.asset), b.table, signed, "", "");
        books[i].progress = abi.encodePacked(uint16(7), uint40(block.timestamp + 100_000));
        for (uint256 slot = 0; slot < 3; slot++) assigned[Codec.word(b.table, 38 + 157 * slot)] = true;
        note(i);
    }

    function pay(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, APPROVED, true);
        fold();
        payFolded(i);
    }

    function payFolded(uint256 i) private folded("pay") {
        settleBill(i);
    }

    function record(uint256 i) private {
        Book memory b = books[i];
        bytes memory fetch = Codec.compact(CONSUMER, fetchDigest(b.id));
        bytes memory signed = receipts(b, b.id, 0);
        vm.prank(who(RECORDER));
        exchange.record_delivery(
            b.id, b.terms, card(b.asset), b.table, bytes32(0), b.progress, fetch, signed, "", bytes32(0)
        );
        books[i].progress = abi.encodePacked(
            b.progress, bytes32(uint256(uint160(who(RECORDER)))), Codec.word(b.table, 38), Codec.word(b.table, 195)
        );
        note(i);
    }

    function deliver(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, seed % 4 == 0 ? REVOKED : PAID, true);
        (, uint256 status) = exchange.order(books[i].id);
        vm.assume(status >> 8 & 1 == 1);
        fold();
        deliverFolded(i);
    }

    function deliverFolded(uint256 i) private folded("record_delivery") {
        record(i);
    }

    /// Recording and accepting in one call, as the consumer may.
    function acceptReceipts(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, PAID, true);
        Book memory b = books[i];
        Acceptance memory a;
        a.order_id = b.id;
        a.terms = b.terms;
        a.key_commitment = Codec.commitment(parts_[b.asset]);
        a.credits = credits_[b.asset];
        a.table = b.table;
        a.progress = b.progress;
        a.fetch = Codec.compact(CONSUMER, fetchDigest(b.id));
        a.receipts = receipts(b, b.id, 0);
        bytes memory data = Codec.callOf(Codec.ACCEPT_RECEIPTS, abi.encode(a));
        vm.prank(who(CONSUMER));
        (bool went,) = address(exchange).call(data);
        require(went, "accept_receipts");
        books[i].progress = abi.encodePacked(
            b.progress, bytes32(uint256(uint160(who(CONSUMER)))), Codec.word(b.table, 38), Codec.word(b.table, 195)
        );
        note(i);
        fold();
    }

    function close(uint256 i, address caller) private {
        Book memory b = books[i];
        vm.prank(caller);
        exchange.settle(
            b.id, b.terms, Codec.commitment(parts_[b.asset]), credits_[b.asset], tableHash(b), b.progress, bytes32(0), ""
        );
        note(i);
    }

    function accept(uint256 i) private {
        close(i, who(CONSUMER));
    }

    function challengeIsOpen(bytes32 id) private view returns (bool) {
        (, uint256 status) = exchange.order(id);
        return status >> 4 & 3 == 1;
    }

    function acceptDelivery(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, DELIVERED, true);
        vm.assume(!challengeIsOpen(books[i].id));
        fold();
        acceptFolded(i);
    }

    function acceptFolded(uint256 i) private folded("settle") {
        accept(i);
    }

    function settleLate(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, DELIVERED, false);
        vm.assume(!challengeIsOpen(books[i].id));
        if (deadlineOf(books[i].id) > block.timestamp) vm.warp(deadlineOf(books[i].id));
        close(i, who(STRANGER));
        fold();
    }

    function refund(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, seed % 2 == 0 ? PAID : REVOKED, false);
        Book memory b = books[i];
        vm.assume(b.progress.length != 0);
        uint256 moment = deadlineOf(b.id) + exchange.grace_seconds();
        if (moment > block.timestamp) vm.warp(moment);
        vm.prank(who(STRANGER));
        exchange.refund(b.id, b.terms, card(b.asset), tableHash(b), progressHash(b), false);
        note(i);
        fold();
    }

    function agreeRefund(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, seed % 3 == 0 ? DELIVERED : PAID, false);
        Book memory b = books[i];
        vm.assume(!challengeIsOpen(b.id));
        bytes memory half = Codec.authority(PROVIDER, who(PROVIDER), address(exchange), abi.encode(Codec.AGREE_REFUND_TYPE, b.id), uint256(fresh("n")),
            uint64(block.timestamp)
        );
        vm.prank(who(CONSUMER));
        exchange.agree_refund(b.id, b.terms, card(b.asset), tableHash(b), progressHash(b), half, "");
        note(i);
        fold();
    }

    function takeBack(uint256 i) private {
        Book memory b = books[i];
        vm.prank(who(PROVIDER));
        grants.revoke(b.id, b.terms, card(b.asset), tableHash(b), progressHash(b), "");
        note(i);
    }

    function revoke(uint256 seed) public {
        dropLogs();
        uint256[4] memory states = [APPROVED, PAID, DELIVERED, SETTLED];
        uint256 i = pick(seed, states[seed % 4], false);
        (, uint256 status) = exchange.order(books[i].id);
        vm.assume(status >> 6 & 1 == 0);
        takeBack(i);
        fold();
        if (status & 15 <= PAID) afterRevocation(i);
        dropLogs();
    }

    /// No payment and no new shares after a revocation.
    function afterRevocation(uint256 i) private {
        Book memory b = books[i];
        bytes memory signed = accepts(b);
        vm.prank(who(CONSUMER));
        try exchange.pay{value: b.terms.price}(b.id, b.terms, card(b.asset), b.table, signed, "", "") {
            fail("I9", "a revoked order was paid");
        } catch {}
        if (approveCall(b, shares(b, 0))) fail("I9", "a revoked order was approved");
    }

    // Challenges

    function challenge(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, DELIVERED, true);
        Book memory b = books[i];
        (, uint256 status) = exchange.order(b.id);
        vm.assume(status >> 4 & 1 == 0);
        uint256 bond = challenges.bond_of(2) + seed % 1 ether + 1;
        vm.prank(who(CONSUMER));
        challenges.challenge{value: bond}(b.id, b.terms, card(b.asset), b.table, progressHash(b), "");
        note(i);
        fold();
    }

    function closeChallenge(uint256 seed) public {
        dropLogs();
        uint256 n = books.length;
        uint256 i = n;
        for (uint256 k = 0; k < n && i == n; k++) {
            if (challengeIsOpen(books[(seed % n + k) % n].id)) i = (seed % n + k) % n;
        }
        if (i == n) {
            i = pick(seed, DELIVERED, true);
            vm.assume(!challengeIsOpen(books[i].id) && challenges.challenge_of(books[i].id).challenger == address(0));
            Book memory fresh_ = books[i];
            uint256 bond = challenges.bond_of(2) + 1 + seed % 1 ether;
            vm.prank(who(CONSUMER));
            challenges.challenge{value: bond}(
                fresh_.id, fresh_.terms, card(fresh_.asset), fresh_.table, progressHash(fresh_), ""
            );
        }
        Book memory b = books[i];
        uint256 moment = challenges.challenge_of(b.id).answer_by;
        if (moment > block.timestamp) vm.warp(moment);
        vm.prank(who(STRANGER));
        challenges.close(b.id, b.terms, card(b.asset), b.table, b.progress);
        note(i);
        fold();
        repair();
    }

    /// Nodes that lost a deposit put it back, so that later orders find live nodes.
    function repair() private {
        for (uint256 i = 4; i < NODES; i++) {
            uint256 stake = registry.node(nodes[i]).stake;
            if (stake >= STAKE || registry.node(nodes[i]).withdrawn) continue;
            address operator = who(operatorKey(i));
            vm.deal(operator, operator.balance + STAKE);
            vm.prank(operator);
            registry.add_stake{value: STAKE - stake}(nodes[i]);
            vm.prank(operator);
            registry.renew(nodes[i], epoch(i), "");
        }
        fold();
    }

    // Money out, stakes, listings

    function claim(uint256 seed) public {
        dropLogs();
        uint256 n = accounts.length;
        if (n == 0) {
            pick(seed, SETTLED, false);
            fold();
            n = accounts.length;
        }
        bytes32 account;
        for (uint256 k = 0; k < n; k++) {
            account = accounts[(seed % n + k) % n];
            if (owed[account] != 0) break;
        }
        vm.assume(n != 0 && owed[account] != 0);
        address caller = uint256(account) >> 160 == 0 ? address(uint160(uint256(account))) : registry.node(account).operator;
        uint256 before = caller.balance;
        uint256 due = owed[account];
        vm.prank(caller);
        exchange.claim(address(0), account, "");
        if (caller.balance != before + due) fail("I2", "a claim paid another amount than was owed");
        fold();
    }

    function takeOut(uint256 seed) public {
        dropLogs();
        address consumer = who(CONSUMER);
        vm.assume(withdrawableOf[consumer] + claimableOf[consumer] != 0);
        if (claimableOf[consumer] == 0 || (seed % 2 == 0 && withdrawableOf[consumer] != 0)) challenges.withdraw(consumer);
        else registry.collect(consumer);
        fold();
    }

    function addStake(uint256 seed) public {
        dropLogs();
        address operator = who(operatorKey(seed % NODES));
        vm.deal(operator, operator.balance + seed % 1 ether);
        vm.prank(operator);
        registry.add_stake{value: seed % 1 ether}(nodes[seed % NODES]);
        fold();
    }

    function setOffer(uint256 seed) public {
        dropLogs();
        uint256 asset = seed % 2;
        Offer memory old = offerOf(asset);
        Offer memory next = offerOf(asset);
        next.price = 1 + seed % 5 ether;
        vm.prank(who(PROVIDER));
        ledger.set_offer(assets[asset], who(PROVIDER), old, next, "");
        prices[asset] = next.price;
        fold();
    }

    function wait_(uint256 seed) public {
        vm.warp(block.timestamp + 1 + seed % 90);
    }

    // What must be refused

    /// A random function by a role that may not call it (I8), on orders of every state.
    function misuse(uint256 seed) public {
        dropLogs();
        uint256 n = books.length;
        uint256 i = n == 0 ? pick(seed, PAID, true) : seed % n;
        Book memory b = books[i];
        address caller = who(STRANGER + seed / 64 % 3); // nobody, twice nobody
        fold();
        uint256 k = seed / 256 % 28;
        bytes memory data = forbidden(b, k);
        address target = targetOf(k);
        vm.prank(caller);
        (bool went,) = target.call(data);
        if (went) fail("I8", "a stranger's call went");
        dropLogs();
        if (b.table.length != 0) wrongDelivery(b, seed);
        dropLogs();
    }

    function targetOf(uint256 k) private view returns (address) {
        if (k < 7) return address(exchange);
        if (k < 10) return address(grants);
        if (k < 12) return address(challenges);
        if (k < 21) return address(registry);
        return address(ledger);
    }

    function forbidden(Book memory b, uint256 k) private returns (bytes memory) {
        if (k < 12) return forbiddenToOrders(b, k);
        return forbiddenToOthers(k);
    }

    function forbiddenToOrders(Book memory b, uint256 k) private returns (bytes memory) {
        bytes32 t = tableHash(b);
        bytes32 p = progressHash(b);
        bytes32 a = card(b.asset);
        (, uint256 status) = exchange.order(b.id);
        if (k == 0) return abi.encodeCall(IExchange.cancel, (b.id, b.terms, a, t, ""));
        if (k == 1) return abi.encodeCall(IExchange.agree_refund, (b.id, b.terms, a, t, p, "", ""));
        if (k == 2) return abi.encodeCall(
            IExchange.set_order, (b.id, Codec.basis(b.terms, a), t, t, p, p, (status & ~uint256(15)) | SETTLED, 0)
        );
        if (k == 3) return abi.encodeCall(IExchange.open_challenge, (b.id, b.terms, a, t, p));
        if (k == 4) return abi.encodeCall(IExchange.close_challenge, (b.id, b.terms, a, t, p, false));
        if (k == 5) return abi.encodeCall(IExchange.claim, (address(0), bytes32(uint256(uint160(who(CONSUMER)))), ""));
        if (k == 6) return abi.encodeCall(IExchange.claim, (address(0), nodes[4], ""));
        if (k == 7) return abi.encodeCall(IGrants.deny, (b.id, b.terms, a, 0, 0, ""));
        if (k == 8) return abi.encodeCall(IGrants.revoke, (b.id, b.terms, a, t, p, ""));
        if (k == 9) return abi.encodeCall(
            IGrants.reseal, (b.id, b.terms, a, b.table, b.progress, 0, new bytes(72), new bytes(149), new bytes(64), "")
        );
        if (k == 10) return abi.encodeCall(IChallenges.challenge, (b.id, b.terms, a, b.table, p, ""));
        if (k == 11) return abi.encodeCall(IChallenges.close, (b.id, b.terms, card(1 - b.asset), b.table, b.progress));
        return "";
    }

    function forbiddenToOthers(uint256 k) private returns (bytes memory) {
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = nodes[4];
        if (k == 12) return abi.encodeCall(IRegistry.withdraw, (nodes[4]));
        if (k == 13) return abi.encodeCall(IRegistry.renew, (nodes[4], epoch(4), ""));
        if (k == 14) return abi.encodeCall(IRegistry.hold, (ids, 1, block.timestamp + 1));
        if (k == 15) return abi.encodeCall(IRegistry.hold_for, (address(exchange), ids, 1, block.timestamp + 1));
        if (k == 16) return abi.encodeCall(IRegistry.slash, (address(exchange), ids, 1, who(STRANGER)));
        if (k == 17) return abi.encodeCall(IRegistry.list_exchange, (who(STRANGER)));
        if (k == 18) return abi.encodeCall(IRegistry.remove_exchange, (address(exchange)));
        if (k == 19) return abi.encodeCall(IRegistry.remove_measurement, (SIMULATED, MEASUREMENT));
        if (k == 20) return abi.encodeCall(IRegistry.accept_governor, ());
        if (k == 21) return abi.encodeCall(ILedger.set_offer, (assets[0], who(PROVIDER), offerOf(0), offerOf(0), ""));
        if (k == 22) return abi.encodeCall(ILedger.retire, (assets[0], who(PROVIDER), keccak256(abi.encode(offerOf(0))), ""));
        if (k == 23) return abi.encodeCall(ILedger.hold, (assets[0], block.timestamp + 1));
        if (k == 24) return abi.encodeCall(ILedger.close_exchange, (address(exchange)));
        if (k == 25) return abi.encodeCall(ILedger.list_token, (who(STRANGER)));
        if (k == 26) return abi.encodeCall(ILedger.propose_change, (who(PROVIDER), who(STRANGER), who(STRANGER), address(0), ""));
        if (k == 27) return abi.encodeCall(ILedger.propose_governor, (who(STRANGER)));
        return "";
    }

    /// Receipts of other nodes, or about another order, never deliver (I6).
    function wrongDelivery(Book memory b, uint256 seed) private {
        bytes memory fetch = Codec.compact(seed % 3 == 0 ? STRANGER : CONSUMER, fetchDigest(b.id));
        bytes memory signed =
            seed % 3 == 1 ? receipts(b, b.id, 1) : receipts(b, seed % 3 == 2 ? keccak256("other") : b.id, 0);
        bytes memory head = b.progress.length >= 7 ? Codec.cut(b.progress, 0, 7) : new bytes(7);
        vm.prank(who(RECORDER));
        try exchange.record_delivery(b.id, b.terms, card(b.asset), b.table, 0, head, fetch, signed, "", 0) {
            fail("I6", "a delivery without its nodes' or its consumer's word");
        } catch {}
    }

    /// A signature that was used, is late, or was made for another contract or chain (I7).
    function replay(uint256 seed) public {
        dropLogs();
        uint256 i = pick(seed, REQUESTED, true);
        fold();
        Book memory b = books[i];
        bytes memory head = abi.encode(Codec.CANCEL_TYPE, b.id);
        uint256 nonce = uint256(fresh("n"));
        uint64 now_ = uint64(block.timestamp);
        tryCancel(b, Codec.authority(CONSUMER, who(CONSUMER), address(exchange), head, nonce, now_ - 1), "a late signature");
        tryCancel(b, Codec.authority(CONSUMER, who(CONSUMER), address(grants), head, nonce, now_), "another contract's signature");
        tryCancel(b, Codec.authority(STRANGER, who(STRANGER), address(exchange), head, nonce, now_), "a stranger's signature");
        vm.chainId(1);
        bytes memory elsewhere = Codec.authority(CONSUMER, who(CONSUMER), address(exchange), head, nonce, now_);
        vm.chainId(31337);
        tryCancel(b, elsewhere, "another chain's signature");
        dropLogs();
        bytes memory right = Codec.authority(CONSUMER, who(CONSUMER), address(exchange), head, nonce, now_);
        vm.prank(who(STRANGER));
        exchange.cancel(b.id, b.terms, card(b.asset), bytes32(0), right);
        note(i);
        if (!exchange.nonce_used(who(CONSUMER), nonce)) fail("I7", "a nonce was not used up");
        fold();
        tryCancel(b, right, "a used signature");
        dropLogs();
        // The same nonce for another order.
        open(seed);
        fold();
        Book memory other = books[books.length - 1];
        bytes memory again =
            Codec.authority(CONSUMER, who(CONSUMER), address(exchange), abi.encode(Codec.CANCEL_TYPE, other.id), nonce, now_);
        tryCancel(other, again, "a used nonce");
        dropLogs();
    }

    function tryCancel(Book memory b, bytes memory authority, string memory what) private {
        vm.prank(who(STRANGER));
        try exchange.cancel(b.id, b.terms, card(b.asset), bytes32(0), authority) {
            fail("I7", what);
        } catch {}
    }

    /// Every order with its word as it was last written; in one answer, because a call costs more than a loop.
    function words() external view returns (bytes32[] memory ids, uint256[] memory all) {
        uint256 n = books.length;
        ids = new bytes32[](n);
        all = new uint256[](n);
        for (uint256 i = 0; i < n; i++) {
            ids[i] = books[i].id;
            all[i] = wordOf[ids[i]];
        }
    }

    /// Every account that was ever credited, with what it is owed.
    function debts() external view returns (bytes32[] memory who_, uint256[] memory due) {
        uint256 n = accounts.length;
        who_ = new bytes32[](n);
        due = new uint256[](n);
        for (uint256 i = 0; i < n; i++) {
            who_[i] = accounts[i];
            due[i] = owed[accounts[i]];
        }
    }

    function creditsOf(uint256 asset) external view returns (bytes memory) {
        return credits_[asset];
    }

    receive() external payable {}
}
