"""Defence: what watches over what runs."""
