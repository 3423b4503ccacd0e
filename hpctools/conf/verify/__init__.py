"""`conf verify`: the candidate booted by real daemons in a throw-away sandbox."""

from hpctools.conf.verify.run import verify

__all__ = ["verify"]
