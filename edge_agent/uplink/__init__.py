"""The uplink: MQTT 5 over mutual TLS, two connections, nothing inbound. docs/protocol.md is the contract.

* what is said, pure: `topics`, `messages`, `stamper`, `operations`, `commands`, `policy`, `jws`, `ulid`,
  `parts`, `schemas`
* a connection kept alive: `link` over `mqtt` over `sockets`; `brokers` and `comeback` say which; `flow` and
  `settings`
* control: `control` with its `outbox`, `brief` heartbeats, `replicate` for the ledger
* media: `media` serves `live`, `playback` and `clip_session` under a `lease`; `steering` picks the stream
* `probe` and its kin measure the line for a technician

docs/design/link.md tells what the library underneath does, and what is done about it.
"""
