"""Where credentials come from that aren't simply written down: tokens that end, AWS, stores of secrets."""
