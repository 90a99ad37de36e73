"""What a build will measure, computed offline, and the signed list of it: SNP's launch digest, manifests."""
