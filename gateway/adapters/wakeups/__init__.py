"""Wake-ups over Redis: hints that rows may be due, never the work itself.

The path of one wake-up, from `queue.wake(verb)` to a handler's call:

1. `ArqQueue.wake` merges calls: at most one wake-up per verb in 20 ms, later ones on a 250 ms grid.
2. Local: `LocalWakeups` calls the same process back at once, also while Redis is away.
3. Remote: `ArqQueue` writes an arq job and its queue entry, and publishes `verb:due` to all workers.
4. `ArqWorker.wait_until_due` hears the message, or its timer ends when a known entry falls due.
5. `ArqWorker.start_due` reads the head of the queue. It signals the `SingleRun` of a verb directly
   if that is running or has several entries, and deletes the entries; otherwise arq starts the job.
6. The arq job calls `SingleRun.signal` and ends. arq's own locks let one worker run each job.
7. `SingleRun` calls the handler: once at a time, and once more if signals came during the run.

`WorkerLoop` does steps 4 to 7 and reconnects. Without Redis it calls every handler once a second.
A lost, late or doubled wake-up is harmless: handlers claim due rows from Postgres, and the sweep
finds rows that no wake-up came for.
"""
