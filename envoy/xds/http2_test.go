package xds_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// This is as much of HTTP/2 (RFC 9113) as it takes to send and to see what Go's
// own client and server hide: trailers that no header announces.

const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameSettings = 0x4

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4

	clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f frame) endsStream() bool {
	return (f.kind == frameData || f.kind == frameHeaders) && f.flags&flagEndStream != 0
}

func writeFrames(w io.Writer, frames ...frame) error {
	var out []byte
	for _, f := range frames {
		out = append(out, byte(len(f.payload)>>16), byte(len(f.payload)>>8), byte(len(f.payload)), f.kind, f.flags)
		out = append(binary.BigEndian.AppendUint32(out, f.stream), f.payload...)
	}
	_, err := w.Write(out)
	return err
}

func readFrame(r io.Reader) (frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// headerBlock encodes names and values in turn as literals (RFC 7541 §6.2.2);
// none may be longer than 126 bytes.
func headerBlock(header ...string) []byte {
	var block []byte
	for i := 0; i < len(header); i += 2 {
		block = append(block, 0, byte(len(header[i])))
		block = append(block, header[i]...)
		block = append(block, byte(len(header[i+1])))
		block = append(block, header[i+1]...)
	}
	return block
}

// wireServer is an HTTP/2 server that keeps the frames of each request and
// answers 200.
type wireServer struct {
	address string

	mu   sync.Mutex // guards seen
	seen [][]frame
}

func startWireServer(t *testing.T) *wireServer {
	t.Helper()
	listener := listen(t)
	s := &wireServer{address: listener.Addr().String()}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			served.Go(func() {
				defer conn.Close()
				if err := s.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
					t.Logf("wire server: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		served.Wait()
	})
	return s
}

func (s *wireServer) serve(conn net.Conn) error {
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, len(clientPreface))); err != nil {
		return err
	}
	if err := writeFrames(conn, frame{kind: frameSettings}); err != nil {
		return err
	}
	open := make(map[uint32][]frame)
	for {
		f, err := readFrame(in)
		if err != nil {
			return err
		}
		switch {
		case f.kind == frameSettings && f.flags&flagAck == 0:
			err = writeFrames(conn, frame{kind: frameSettings, flags: flagAck})
		case f.kind == frameData || f.kind == frameHeaders:
			open[f.stream] = append(open[f.stream], f)
		}
		if f.endsStream() {
			s.mu.Lock()
			s.seen = append(s.seen, open[f.stream])
			s.mu.Unlock()
			delete(open, f.stream)
			err = writeFrames(conn, frame{
				kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: f.stream, payload: headerBlock(":status", "200"),
			})
		}
		if err != nil {
			return err
		}
	}
}

// requests returns the frames of the requests since the last call.
func (s *wireServer) requests() [][]frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// wirePost sends one request with trailers, all as names and values in turn, and
// waits for the first frame of the answer's headers.
func wirePost(t *testing.T, address, body string, header, trailers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, clientPreface); err != nil {
		t.Fatal(err)
	}
	head := append([]string{":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/mcp", "authorization", "Bearer token"}, header...)
	frames := []frame{{kind: frameSettings}, {kind: frameHeaders, flags: flagEndHeaders, stream: 1, payload: headerBlock(head...)}}
	if body != "" {
		frames = append(frames, frame{kind: frameData, stream: 1, payload: []byte(body)})
	}
	frames = append(frames, frame{kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: 1, payload: headerBlock(trailers...)})
	if err := writeFrames(conn, frames...); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewReader(conn); ; {
		f, err := readFrame(in)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if f.stream == 1 && f.kind == frameHeaders {
			return
		}
	}
}
