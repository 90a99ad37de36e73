"""From a node.toml to a running node: operator's account, chain, registration, app. One file a kind."""
