#!/bin/sh
# No service starts because its package was installed: there is no init here to look after it.
exit 101
