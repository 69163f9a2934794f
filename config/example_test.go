package config_test

import (
	"errors"
	"fmt"

	"connect-proxy/config"
)

func ExampleParse() {
	cfg, err := config.Parse("web.hcl", []byte(`
		service_name = "web"

		upstream {
			destination_name = "db"
			local_bind_port  = 9191
		}
	`))
	if err != nil {
		fmt.Println(err)
		return
	}
	db := cfg.Upstreams[0]
	fmt.Println(cfg.Service, "reaches", db.Destination, "on", db.Bind, "by", db.Balance)
	// Output: web reaches db on 127.0.0.1:9191 by least_connections
}

// Every mistake is named at once, with its place in the file.
func ExampleParse_mistakes() {
	_, err := config.Parse("web.hcl", []byte(`service_name = "web"
drain_timeout = "soon"

upstream {
  destination_name = "db"
}
`))
	var invalid *config.Invalid
	if errors.As(err, &invalid) {
		for _, mistake := range invalid.Mistakes {
			fmt.Println(mistake)
		}
	}
	// Output:
	// web.hcl:2: drain_timeout: "soon": not a duration: give a number with its unit, such as "30s"
	// web.hcl:4: upstreams[0].local_bind_port: missing: say where to listen, by port or by socket path
}

func ExampleParseUpstream() {
	for _, flag := range []string{"db:9191", "db:127.0.0.10:9191", "nearest-db.query:unix:/run/db.sock"} {
		u, err := config.ParseUpstream(flag)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(u.Destination.Type, u.Destination.Name, u.Bind.Network(), u.Bind)
	}
	// Output:
	// service db tcp :9191
	// service db tcp 127.0.0.10:9191
	// prepared_query nearest-db unix /run/db.sock
}

// A host name and the address it stands for cannot both have one port.
func ExampleAddress_Overlaps() {
	name := config.Address{Host: "localhost", Port: 9191}
	fmt.Println(name.Overlaps(config.Address{Host: "127.0.0.1", Port: 9191}))
	fmt.Println(name.Overlaps(config.Address{Host: "127.0.0.1", Port: 9192}))
	// Output:
	// true
	// false
}
