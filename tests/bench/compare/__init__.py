"""``make bench AGAINST=<rev>``: two builds measured in one run on one machine."""
