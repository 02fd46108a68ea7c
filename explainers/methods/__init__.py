"""One method, one file. The mathematics that methods share lives in the folders beside this one."""
