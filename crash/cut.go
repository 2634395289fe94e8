package main

import "context"

func cutting(ctx context.Context, o options) (*report, error) { return nil, nil }
