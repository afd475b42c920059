"""Ways to break what is around a shell; the cases beside this folder use them."""
