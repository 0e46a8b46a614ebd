"""What in this folder is a program that a test runs, not a test."""

collect_ignore = ["four_devices.py"]
