"""The relay of node ports on localhost, over real connections."""
