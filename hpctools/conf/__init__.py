"""An administrator's configuration: judged, mended, booted before it goes live."""
