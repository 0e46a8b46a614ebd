collect_ignore = ["mistakes.py"]  # which type checkers read
