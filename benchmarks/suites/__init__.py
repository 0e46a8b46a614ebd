"""One module per suite: `cases(device)` yields the suite's `Case` objects, each built when its turn comes."""
