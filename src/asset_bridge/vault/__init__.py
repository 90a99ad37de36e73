"""What stays on the owner's machine: home folder, keystore, tweaks, backup, network.toml, and files on disk (spec/home.md)."""
