"""kubo as storage node: its program (found or built), its process, its RPC, and the block store over it."""
