//go:build !linux

package testenv

import "syscall"

// childAttributes gives the child its own process group. Only Linux can tie the
// child's life to ours.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
