module missing
