# A tour: a failover, the recovery of the former primary, and a switch back to it.
ls

# SIGKILL to the primary's server: a replica takes over while two applications write.
host db1 kill
wait primary
clients
ls

# The former primary stays SHUNNED until an operator has it back: as a replica, with what it may hold too much laid aside.
datasource db1 recover
wait online

# And back again, on purpose: new connections wait for a moment, none is refused.
switch to db1
wait online
clients
ls
events
