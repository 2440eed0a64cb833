"""The agent: one owner of all state, the desks that work for it, and the threads that ask for it.

Begin with `owner`, which drains one inbox of facts and decides; `parts` is what it works with. Then by
subject:

* to the command centre: `link`, `reports`, `beats`, `handlers` and `task`, `ledger`, `journal`, `data_use`
* cameras: `roster`, `cameras`, `finder`, `locate`, `reach`, `sealing`, `snapshots`, `eyes`
* viewers: `viewings`, `live_choice`, `clips`, `footage`, `gaps`, `outages`
* the night watch's desk: `night`, `senses`, `darkness`, `probes`, `device_clocks`, `works`, `signal_file`
* nightly records: `nights`, and `nights_reading`, `nights_table`, `nights_page`, `nights_drawing` for
  people
* the city's demands: `policy`, `policy_file`, `backup`; evidence that is held: `evidence`,
  `evidence_worker`
* the box itself: `chores`, `jobs`, `config_watch`, and `local` for the people beside it
"""
