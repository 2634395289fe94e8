package vault

import (
	"bytes"
	"io"
	"testing"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
)

func sealFile(t *testing.T, v *Vault, export annona.UID, recipient string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := v.SealFile(&out, export, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAFileOfAnExportOpensUntilItsKeyIsDestroyed(t *testing.T) {
	_, _, v := newVault(t, Production)
	export, content := annona.NewUID(), bytes.Repeat([]byte("household,"), 20_000)
	sealed := sealFile(t, v, export, "", content)
	if bytes.Contains(sealed, []byte("household")) {
		t.Error("the file shows what it holds")
	}
	r, length, err := v.OpenFile(bytes.NewReader(sealed), int64(len(sealed)), export)
	if err != nil || length != int64(len(content)) {
		t.Fatalf("%d bytes, %v", length, err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, length)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if r, n, err := v.OpenFile(bytes.NewReader(sealed), int64(len(sealed))-1, export); err == nil {
		if _, err := io.ReadAll(io.NewSectionReader(r, 0, n)); err == nil {
			t.Error("a truncated file opens whole")
		}
	}
	if _, _, err := v.OpenFile(bytes.NewReader(sealed), int64(len(sealed)), annona.NewUID()); annona.CodeOf(err) != "export_gone" {
		t.Errorf("another export opens it: %v", err)
	}
	note, err := v.SealNote(export, "a", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := v.OpenNote(export, "a", note); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := v.OpenNote(export, "b", note); err == nil {
		t.Error("a note opens under another name")
	}
	for range 2 {
		if err := v.DestroyExport(export); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := v.OpenFile(bytes.NewReader(sealed), int64(len(sealed)), export); annona.CodeOf(err) != "export_gone" {
		t.Errorf("without its key: %v", err)
	}
	if _, err := v.OpenNote(export, "a", note); annona.CodeOf(err) != "export_gone" {
		t.Errorf("a note without its key: %v", err)
	}
}

func TestAFileIsSealedToItsRecipient(t *testing.T) {
	_, _, v := newVault(t, Production)
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for recipient, identity := range map[string]age.Identity{classic.Recipient().String(): classic, hybrid.Recipient().String(): hybrid} {
		sealed := sealFile(t, v, annona.NewUID(), recipient, []byte("content"))
		r, err := age.Decrypt(bytes.NewReader(sealed), identity)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "content" {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, wrong := range []string{"nobody", "age1", classic.String(), classic.Recipient().String() + "\n" + hybrid.Recipient().String(), "# " + classic.Recipient().String()} {
		if _, err := v.SealFile(io.Discard, annona.UID{}, wrong); annona.CodeOf(err) != "recipient_malformed" {
			t.Errorf("%.10q is a recipient: %v", wrong, err)
		}
	}
}
