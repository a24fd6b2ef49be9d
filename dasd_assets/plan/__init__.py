"""What a profile will cost before anything is spent: requests, tokens, hours, disk, money."""
