"""`conf verify`: the candidate booted by real daemons in a throw-away sandbox."""
