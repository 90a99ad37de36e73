"""Verbs that an account signs and anyone submits (spec/signed-verb.md)."""
