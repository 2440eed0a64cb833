"""The command line: one module a command or group, thin over what the rooms can do.

`entry` is the console script and goes a short way for `run`; `main` knows all commands. `local` and `work`
ask the daemon over its socket; `ring`, `ledger` and `nights` read the files alone, while the daemon runs or
not.
"""
