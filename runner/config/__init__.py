"""What the runner takes from its surroundings. The only reader of the environment, and of `runner.toml`."""

from runner.config.configuration import Configuration as Configuration
from runner.config.configuration import load_configuration as load_configuration
from runner.config.configuration import load_settings as load_settings
from runner.config.configuration import load_state_dir as load_state_dir
from runner.config.configuration import reloaded as reloaded
from runner.config.machine import available_cores as available_cores
from runner.config.machine import environment_value as environment_value
from runner.config.machine import is_tmpfs as is_tmpfs
from runner.config.machine import temp_parent as temp_parent
from runner.config.settings import GROUP_ID as GROUP_ID
from runner.config.settings import Settings as Settings
