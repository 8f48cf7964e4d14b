"""The gateway as a whole: usage, activity, queues, system, and the account of who is signed in."""
