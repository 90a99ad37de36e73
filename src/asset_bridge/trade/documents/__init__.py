"""The documents that the chain names only by digest (spec/documents.md). Parsing and building; no network, no clock."""
