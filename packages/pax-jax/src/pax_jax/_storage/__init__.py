"""What is written to files and read back: arrays, their checksums, files, directories of checkpoints."""
