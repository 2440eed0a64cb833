"""The command centre's side: a client library, the registrar, the media gateway and the console.

* the library: `client` is its face; `link` connects, `belief` and `hearing` judge what arrives, `orders`
  signs
* footage: `live` and `stream`, `playback` and `screening`, `clip` and `clip_file`, `coverage`, `fmp4_view`,
  `measure`
* the registrar, witness and mirror of every ledger: `registrar`, `ingest`, `witness`, `store`
* evidence: `hold`, `hold_store`, `export`, `export_spool`; duty: `policy`, `nights`, `visits`
* the console: `sites` is what is known, `gateway` serves many viewers from one session, `console/` is the
  page

docs/guides/iccc.md is for whoever builds on it.
"""
