"""What a process needs of the operating system: sockets, descriptors, private files, a watchdog."""
