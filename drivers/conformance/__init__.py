"""What an author of a driver needs to test it: `Bench`, on which its attempts are carried out as a runner does, and `DriverContract`, the
suite that every driver has to pass, those that are built in too. Neither needs pytest. docs/drivers.md shows both."""

from drivers.conformance.bench import Attempt as Attempt
from drivers.conformance.bench import Bench as Bench
from drivers.conformance.bench import Carried as Carried
from drivers.conformance.bench import carried_out as carried_out
from drivers.conformance.suite import DriverContract as DriverContract
