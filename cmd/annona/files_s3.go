//go:build s3

package main

// Files of exports may lie in a bucket: annona serve --files s3://bucket?region=eu-central-1.
import _ "gocloud.dev/blob/s3blob"
