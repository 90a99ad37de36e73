"""A provider's or a consumer's daemon: what an owner would do by hand, at once and within the owner's policy file."""
