"""The night watch and the nightly record: what does each camera see, since when, why not, was it due. Pure.

* the watch: `signals` in, through `condense`, to `watch`, which keeps one `camera` each and the `site`;
  `verdict` rules, `incidents` and `groups` say what belongs together, `lapses`, `rising`, `slate`, `links`
  and `box` know special cases; `decisions` out, worded by `says` and `wording`
* the record: `scribe` reads leaves into a `chronicle`, `nights` counts minutes against `duty` and `policy`;
  `nights_leaf` and `nights_words` tell it
* again: `signal_log` keeps what was seen, `replay` decides anew
"""
