"""What runs will take, without running them."""
