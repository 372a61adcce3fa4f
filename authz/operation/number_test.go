package operation_test

import (
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

// A number with a fraction is accepted only if those who keep all its digits and
// those who round it to a double read the same.
func TestFractions(t *testing.T) {
	t.Parallel()
	for numbers, want := range map[string]bool{
		"0.5 -0.1 12.34 1.5e300 2.5e-10 123456789012.345 0.000000000000000001 100.000000000000000000000": true,
		// A double as JavaScript, Python and Go write it, and as others do, with a last digit more.
		"0.30000000000000004 0.1234567890123456 3.141592653589793 9.999999999999997e-7 179769313486.23157 5e-324 2.2250738585072014e-308": true,
		"3.1415926535897931 0.30000000000000004": true,
		// Whole numbers, however they are written.
		"9007199254740993 12345678901234567890123 1.2345678901234567890123e22 7.0000000000000000000000 1e400 -1e21": true,

		"7.0000000000000001 7.00000000000000000001 99.999999999999999 99.99999999999999999999 0.10000000000000001 52.520006599999999": false,
		"0.29999999999999999 1.0000000000000000000000001e1 9007199254740992.5 4503599627370496.25":                                    false,
		"0.123456789012345678 1e-400 1e-324 4.9e-324 1.1e-323 -1e-330":                                                                false,
	} {
		for number := range strings.FieldsSeq(numbers) {
			if _, err := operation.CanonicalJSON(nil, []byte(number)); (err == nil) != want {
				t.Errorf("%s: %v", number, err)
			}
		}
	}
}

// The numbers next to a bound, of 16 to 18 digits, are refused or on the same side
// of it as their doubles.
func TestFractionsNextToBounds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	accepted := 0
	for range 20_000 {
		whole, scale := random.Int64N(1_000_000_000_000_000), power(-1-random.IntN(40))
		bound := new(big.Rat).Mul(big.NewRat(whole*100, 1), scale)
		number := new(big.Rat).Mul(big.NewRat(whole*100+random.Int64N(199)-99, 1), scale)
		digits, _ := number.FloatPrec()
		text := number.FloatString(digits)
		if _, err := operation.CanonicalJSON(nil, []byte(text)); err != nil || number.IsInt() {
			continue
		}
		accepted++
		rounded, _ := number.Float64()
		roundedBound, _ := bound.Float64()
		if number.Cmp(bound) != compareFloats(rounded, roundedBound) {
			t.Errorf("%s is accepted beside %s", text, bound.FloatString(digits))
		}
	}
	if accepted < 1_000 {
		t.Errorf("only %d numbers were accepted", accepted)
	}
}

func power(exponent int) *big.Rat {
	r, _ := new(big.Rat).SetString("1e" + strconv.Itoa(exponent))
	return r
}

// Whatever the fraction, it compares with a bound of a schema as its double does.
func FuzzFractions(f *testing.F) {
	for _, seed := range []string{
		"7.0000000000000001 7", "99.999999999999999 100", "0.30000000000000004 0.3", "0.29999999999999999 0.3", "-0.1 -0.1",
		"4503599627370495.5 4503599627370496", "123456789.12345678 123456789.123457", "2.2250738585072014e-308 2.22507385850720e-308",
	} {
		number, bound, _ := strings.Cut(seed, " ")
		f.Add(number, bound)
	}
	f.Fuzz(func(t *testing.T, number, bound string) {
		if len(number) > 64 || len(bound) > 64 {
			t.Skip("too long")
		}
		form, err := operation.CanonicalJSON(nil, []byte(number))
		exactBound, ok := new(big.Rat).SetString(bound)
		if err != nil || !ok || strings.ContainsAny(string(form), `"[{tfn`) || strings.ContainsAny(bound, "/_xXoObBpP") {
			return
		}
		exact, ok := new(big.Rat).SetString(string(form))
		if !ok || exact.IsInt() {
			return
		}
		rounded, err := strconv.ParseFloat(string(form), 64)
		roundedBound, boundErr := strconv.ParseFloat(bound, 64)
		if err != nil || boundErr != nil || significantDigits(bound) > 15 || roundedBound != 0 && (roundedBound < 1e-307 && roundedBound > -1e-307) {
			return
		}
		if got, want := exact.Cmp(exactBound), compareFloats(rounded, roundedBound); got != want {
			t.Errorf("%s and %s compare as %d, their doubles as %d", number, bound, got, want)
		}
	})
}

func significantDigits(number string) int {
	mantissa, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(number, "+-")), "e")
	return len(strings.Trim(strings.Replace(mantissa, ".", "", 1), "0"))
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
