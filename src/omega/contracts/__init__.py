"""Words that features share: the events they tell each other of, and how an event travels. Pure: no input or output, no clock."""
