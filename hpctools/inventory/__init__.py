"""What hardware a cluster has: the facts from which its configuration is made."""
