// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import "./Scene.sol";

/// What the contracts must hold according to their events alone, and what was ever seen to break a rule.
contract Ghost is Scene {
    uint256 constant REQUESTED = 1;
    uint256 constant APPROVED = 2;
    uint256 constant PAID = 6;
    uint256 constant DELIVERED = 7;
    uint256 constant REVOKED = 8;
    uint256 constant REFUNDED = 9;
    uint256 constant SETTLED = 10;
    // Bitmap of the states that may follow a state (spec/contracts.md, section 7).
    uint256[11] private follows = [
        1 << 1, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5, 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8, 0, 0, 0, 1 << 7 | 1 << 8 | 1 << 9,
        1 << 9 | 1 << 10, 1 << 7 | 1 << 9, 0, 0
    ];

    struct Facts {
        uint256 state;
        uint256 price;
        bytes32 consumer;
        bytes32 provider;
        bytes32 recorder;
        bytes32[2] served; // slots 0 and 1, whose receipts the Handler records
        bool paid;
        uint256 endings;
        uint256 paidOut;
    }

    mapping(bytes32 => Facts) facts;
    mapping(bytes32 => uint256) public owed; // by account, from events
    mapping(bytes32 => uint256) public stakeOf;
    mapping(address => uint256) public claimableOf;
    mapping(address => uint256) public withdrawableOf;
    mapping(bytes32 => uint256) bondOf;
    mapping(bytes32 => address) challengerOf;
    mapping(bytes32 => uint256) wordOf; // as the contract held it when it was last written
    uint256 public escrow;
    uint256 public owedTotal;
    uint256 public stakes;
    uint256 public claimables;
    uint256 public bonds;
    uint256 public withdrawables;
    bytes32[] public accounts;
    mapping(bytes32 => bool) known;
    mapping(string => string) public broken; // by invariant: what broke it first
    mapping(string => uint256) public gasOf;

    function fail(string memory invariant, string memory what) internal {
        if (bytes(broken[invariant]).length == 0) broken[invariant] = what;
    }

    function credit(bytes32 account, uint256 amount) private {
        if (!known[account]) {
            known[account] = true;
            accounts.push(account);
        }
        owed[account] += amount;
        owedTotal += amount;
    }

    /// The price by the fee table, as section 8 of the specification says it: the provider gets what rounding leaves.
    function divide(Facts storage f) private {
        uint256 each = f.price * 300 / 10_000 / 2;
        uint256 stored = f.price * 100 / 10_000 / 3;
        uint256 recorder = f.price * 50 / 10_000;
        uint256 light = f.price * 100 / 10_000;
        for (uint256 i = 0; i < 2; i++) credit(f.served[i], each);
        for (uint256 i = 1; i < 4; i++) credit(nodes[i], stored);
        credit(f.recorder, recorder);
        credit(nodes[0], light);
        credit(f.provider, f.price - 2 * each - 3 * stored - recorder - light);
    }

    function move(bytes32 id, uint256 state) private {
        Facts storage f = facts[id];
        if (follows[f.state] >> state & 1 == 0) fail("I5", "a state followed that may not");
        f.state = state;
        if (state == SETTLED || state == REFUNDED || (state >= 3 && state <= 5)) f.endings += 1;
    }

    /// Reads the logs of what just happened.
    function fold() internal {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            address from = logs[i].emitter;
            if (from == address(exchange)) ofExchange(logs[i].topics[0], logs[i]);
            else if (from == address(grants)) ofGrants(logs[i].topics[0], logs[i]);
            else if (from == address(registry)) ofRegistry(logs[i].topics[0], logs[i]);
            else if (from == address(challenges)) ofChallenges(logs[i].topics[0], logs[i]);
        }
    }

    function ofExchange(bytes32 name, Vm.Log memory entry) private {
        bytes32 id = entry.topics.length > 1 ? entry.topics[1] : bytes32(0);
        Facts storage f = facts[id];
        if (name == keccak256("Requested(bytes32,address,address,bytes32,(uint256,address,bytes32,uint256,bytes32),address,uint8,bytes32,bytes32,bytes32,uint64,bytes32)")) {
            move(id, REQUESTED);
            f.price = uint256(Codec.word(entry.data, 32));
            f.consumer = entry.topics[3];
            f.provider = entry.topics[2];
        } else if (name == keccak256("Cancelled(bytes32)")) {
            move(id, 4);
        } else if (name == keccak256("Expired(bytes32)")) {
            move(id, 5);
        } else if (name == keccak256("Paid(bytes32,address,uint16)")) {
            move(id, PAID);
            f.paid = true;
            escrow += f.price;
        } else if (name == keccak256("Delivered(bytes32,uint32,bytes32,bytes,bytes,bytes)")) {
            if (!f.paid) fail("I6", "delivered without payment");
            move(id, DELIVERED);
            (, f.recorder,,,) = abi.decode(entry.data, (uint256, bytes32, bytes, bytes, bytes));
        } else if (name == keccak256("Settled(bytes32,bool)")) {
            move(id, SETTLED);
            f.paidOut += f.price;
            divide(f);
            escrow -= f.price;
        } else if (name == keccak256("Refunded(bytes32,uint256,bool)")) {
            move(id, REFUNDED);
            f.paidOut += abi.decode(entry.data, (uint256));
            credit(f.consumer, abi.decode(entry.data, (uint256)));
            escrow -= f.price;
        } else if (name == keccak256("Claimed(address,bytes32,address,uint256)")) {
            (, uint256 amount) = abi.decode(entry.data, (address, uint256));
            owed[entry.topics[2]] -= amount;
            owedTotal -= amount;
        } else if (
            name != keccak256("ChallengeOpened(bytes32,uint256)") && name != keccak256("ChallengeClosed(bytes32,bool)")
                && name != keccak256("BalanceOpened(address,bytes32)") && name != keccak256("NonceUsed(address,uint256)")
        ) {
            fail("I13", "an event that the specification does not name");
        }
    }

    function ofGrants(bytes32 name, Vm.Log memory entry) private {
        bytes32 id = entry.topics[1];
        if (name == keccak256("Approved(bytes32,bytes,bytes,bytes,bytes32,uint64)")) {
            move(id, APPROVED);
            (bytes memory table,,,,) = abi.decode(entry.data, (bytes, bytes, bytes, bytes32, uint64));
            facts[id].served = [Codec.word(table, 38), Codec.word(table, 38 + 157)];
        } else if (name == keccak256("Denied(bytes32,bytes32,uint64)")) {
            move(id, 3);
        } else if (name == keccak256("Revoked(bytes32,uint8)")) {
            uint256 state = abi.decode(entry.data, (uint256));
            if (state == REVOKED) move(id, REVOKED);
            else if (state != facts[id].state) fail("I5", "a revocation moved a delivered order");
        } else if (
            name != keccak256("Resealed(bytes32,uint8,bytes,bytes,bytes)") && name != keccak256("NonceUsed(address,uint256)")
        ) {
            fail("I13", "an event that the specification does not name");
        }
    }

    function ofRegistry(bytes32 name, Vm.Log memory entry) private {
        bytes32 id = entry.topics.length > 1 ? entry.topics[1] : bytes32(0);
        if (name == keccak256("NodeRegistered(bytes32,address,uint8,bytes32,uint256)")) {
            (, uint256 amount) = abi.decode(entry.data, (bytes32, uint256));
            stakeOf[id] += amount;
            stakes += amount;
        } else if (name == keccak256("StakeAdded(bytes32,uint256)")) {
            stakeOf[id] += abi.decode(entry.data, (uint256));
            stakes += abi.decode(entry.data, (uint256));
        } else if (name == keccak256("NodeWithdrawn(bytes32,uint256)")) {
            stakes -= abi.decode(entry.data, (uint256));
            stakeOf[id] -= abi.decode(entry.data, (uint256));
        } else if (name == keccak256("Slashed(bytes32,address,address,uint256)")) {
            uint256 amount = abi.decode(entry.data, (uint256));
            if (amount > stakeOf[id]) fail("I14", "slashed more than the stake");
            if (!assigned[id]) fail("I14", "slashed a node that accepted nothing");
            stakeOf[id] -= amount;
            stakes -= amount;
            claimableOf[address(uint160(uint256(entry.topics[3])))] += amount;
            claimables += amount;
        } else if (name == keccak256("Collected(address,uint256)")) {
            uint256 amount = abi.decode(entry.data, (uint256));
            claimableOf[address(uint160(uint256(id)))] -= amount;
            claimables -= amount;
        }
    }

    function ofChallenges(bytes32 name, Vm.Log memory entry) private {
        bytes32 id = entry.topics[1];
        if (name == keccak256("Challenged(bytes32,uint256,uint256)")) {
            (uint256 bond,) = abi.decode(entry.data, (uint256, uint256));
            bondOf[id] = bond;
            bonds += bond;
            challengerOf[id] = challenges.challenge_of(id).challenger;
        } else if (name == keccak256("Failed(bytes32)")) {
            bonds -= bondOf[id];
            withdrawableOf[challengerOf[id]] += bondOf[id];
            withdrawables += bondOf[id];
        } else if (name == keccak256("Withdrawn(address,uint256)")) {
            uint256 amount = abi.decode(entry.data, (uint256));
            withdrawableOf[address(uint160(uint256(id)))] -= amount;
            withdrawables -= amount;
        }
    }

    mapping(bytes32 => bool) assigned; // nodes that accepted a paid order

    function rawWord(bytes32 id) public view returns (uint256) {
        (bytes32 core, uint256 status) = exchange.order(id);
        return uint256(core) | status;
    }

    function stateOf(bytes32 id) public view returns (uint256) {
        (, uint256 status) = exchange.order(id);
        return status & 15;
    }

    function deadlineOf(bytes32 id) public view returns (uint256) {
        (, uint256 status) = exchange.order(id);
        return status >> 32;
    }
}
