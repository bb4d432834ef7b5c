"""HOW LINUX IS ASKED: one family of system calls a file. Knows no fleet."""
