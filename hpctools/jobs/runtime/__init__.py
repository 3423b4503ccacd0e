"""What is copied into run folders and runs inside jobs: single files of the standard library, Python 3.8+."""
