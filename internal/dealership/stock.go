package dealership

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Vehicle is a car on sale.
type Vehicle struct {
	ID           string `json:"id" jsonschema:"identifier, such as V-1001"`
	Make         string `json:"make" jsonschema:"manufacturer"`
	Model        string `json:"model" jsonschema:"model name"`
	Year         int    `json:"year" jsonschema:"year of manufacture"`
	Fuel         string `json:"fuel" jsonschema:"petrol, diesel, hybrid or electric"`
	Price        int    `json:"price" jsonschema:"price in whole rupees"`
	VIN          string `json:"vin" jsonschema:"vehicle identification number"`
	Registration string `json:"registration" jsonschema:"registration plate"`
	Dealer       string `json:"dealer_id" jsonschema:"where it stands"`
}

// Dealer is a place that sells and services cars.
type Dealer struct {
	ID      string `json:"id" jsonschema:"identifier, such as D-1"`
	Name    string `json:"name" jsonschema:"name of the dealer"`
	City    string `json:"city" jsonschema:"city"`
	Address string `json:"address" jsonschema:"street address"`
	Phone   string `json:"phone" jsonschema:"telephone number"`
	Email   string `json:"email" jsonschema:"mail address"`
}

// Customer owns cars and pays for them.
type Customer struct {
	ID    string `json:"id" jsonschema:"identifier, such as C-1"`
	Name  string `json:"name" jsonschema:"full name"`
	Email string `json:"email" jsonschema:"mail address"`
	Phone string `json:"phone" jsonschema:"telephone number"`
}

// Booking is an appointment for a service.
type Booking struct {
	ID       string `json:"id" jsonschema:"identifier, such as B-1"`
	Vehicle  string `json:"vehicle_id" jsonschema:"the vehicle to service"`
	Customer string `json:"customer_id" jsonschema:"who brings it"`
	Date     string `json:"date" jsonschema:"day of the appointment, YYYY-MM-DD"`
	Kind     string `json:"kind" jsonschema:"inspection, repair or recall"`
	Status   string `json:"status" jsonschema:"booked or cancelled"`
}

// Refund is money given back for a payment.
type Refund struct {
	ID        string `json:"id" jsonschema:"identifier, such as R-1"`
	Payment   string `json:"payment_id" jsonschema:"the payment it belongs to"`
	Amount    int    `json:"amount" jsonschema:"whole rupees given back"`
	Remaining int    `json:"remaining" jsonschema:"whole rupees of the payment that are left"`
}

// Errors that tell the caller what to correct.
var (
	errNotFound = errors.New("not found")
	errConflict = errors.New("conflict")
	errInvalid  = errors.New("invalid")
)

// stock is everything the dealership knows, and what was done to it.
type stock struct {
	vehicles []Vehicle // never changes
	dealers  []Dealer  // never changes

	mu        sync.Mutex // guards what follows
	customers map[string]Customer
	payments  map[string]int // id to the whole rupees that are left
	bookings  map[string]Booking
	refunds   int
	effects   map[string]int
}

func newStock() *stock {
	return &stock{
		vehicles: []Vehicle{
			{"V-1001", "Maruti Suzuki", "Swift", 2023, "petrol", 749000, "MA3EWB22301000001", "MH 12 AB 1001", "D-1"},
			{"V-1002", "Hyundai", "Creta", 2022, "diesel", 1325000, "MALBB51B1KM000002", "MH 12 CD 1002", "D-1"},
			{"V-1003", "Tata", "Nexon EV", 2024, "electric", 1649000, "MAT626010LPR00003", "MH 14 EF 1003", "D-1"},
			{"V-1004", "Mahindra", "XUV700", 2023, "diesel", 2199000, "MA1TA2SCXM2000004", "KA 01 GH 1004", "D-2"},
			{"V-1005", "Toyota", "Innova Hycross", 2024, "hybrid", 2890000, "MBJ11JV54N7000005", "KA 03 JK 1005", "D-2"},
			{"V-1006", "Honda", "City", 2021, "petrol", 1049000, "MAKGM6644P4000006", "KA 05 LM 1006", "D-2"},
			{"V-1007", "BMW", "530i", 2020, "petrol", 4250000, "WBA5R1C54KF000007", "DL 03 NP 1007", "D-3"},
			{"V-1008", "Kia", "Seltos", 2024, "petrol", 1485000, "MZBEA813XRN000008", "DL 08 QR 1008", "D-3"},
		},
		dealers: []Dealer{
			{"D-1", "Sahyadri Motors", "Pune", "14 Law College Road", "+91 20 5550 0101", "pune@dealership.example"},
			{"D-2", "Garden City Cars", "Bengaluru", "220 Residency Road", "+91 80 5550 0102", "bengaluru@dealership.example"},
			{"D-3", "Capital Wheels", "New Delhi", "7 Barakhamba Road", "+91 11 5550 0103", "delhi@dealership.example"},
		},
		customers: map[string]Customer{
			"C-1": {"C-1", "Asha Kulkarni", "asha@customers.example", "+91 98000 00001"},
			"C-2": {"C-2", "Ravi Menon", "ravi@customers.example", "+91 98000 00002"},
			"C-3": {"C-3", "Meera Singh", "meera@customers.example", "+91 98000 00003"},
		},
		payments: map[string]int{"P-1": 12500, "P-2": 749000, "P-3": 4999},
		bookings: map[string]Booking{},
		effects:  map[string]int{},
	}
}

// search finds vehicles; empty criteria match everything.
func (s *stock) search(q searchInput) []Vehicle {
	found := []Vehicle{}
	for _, v := range s.vehicles {
		switch {
		case q.Make != "" && !strings.EqualFold(q.Make, v.Make):
		case q.Model != "" && !strings.Contains(strings.ToLower(v.Model), strings.ToLower(q.Model)):
		case q.Fuel != "" && q.Fuel != v.Fuel:
		case q.MaxPrice > 0 && v.Price > q.MaxPrice:
		default:
			found = append(found, v)
		}
	}
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found
}

func (s *stock) vehicle(id string) (Vehicle, error) {
	i := slices.IndexFunc(s.vehicles, func(v Vehicle) bool { return v.ID == id })
	if i < 0 {
		return Vehicle{}, fmt.Errorf("vehicle %q: %w", id, errNotFound)
	}
	return s.vehicles[i], nil
}

// lookup finds dealers; empty criteria match everything.
func (s *stock) lookup(q dealerInput) []Dealer {
	found := []Dealer{}
	for _, d := range s.dealers {
		if (q.ID == "" || q.ID == d.ID) && (q.City == "" || strings.EqualFold(q.City, d.City)) {
			found = append(found, d)
		}
	}
	return found
}

func (s *stock) book(in bookInput) (Booking, error) {
	if _, err := s.vehicle(in.Vehicle); err != nil {
		return Booking{}, err
	}
	if _, err := time.Parse(time.DateOnly, in.Date); err != nil {
		return Booking{}, fmt.Errorf("date %q is not YYYY-MM-DD: %w", in.Date, errInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.customers[in.Customer]; !ok {
		return Booking{}, fmt.Errorf("customer %q: %w", in.Customer, errNotFound)
	}
	b := Booking{
		ID:       fmt.Sprintf("B-%d", len(s.bookings)+1),
		Vehicle:  in.Vehicle,
		Customer: in.Customer,
		Date:     in.Date,
		Kind:     in.Kind,
		Status:   "booked",
	}
	if b.Kind == "" {
		b.Kind = "inspection"
	}
	s.bookings[b.ID] = b
	s.effects["book_service"]++
	return b, nil
}

func (s *stock) cancel(in cancelInput) (Booking, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.bookings[in.Booking]
	if !ok {
		return Booking{}, fmt.Errorf("booking %q: %w", in.Booking, errNotFound)
	}
	if b.Status == "cancelled" {
		return Booking{}, fmt.Errorf("booking %q is already cancelled: %w", in.Booking, errConflict)
	}
	b.Status = "cancelled"
	s.bookings[b.ID] = b
	s.effects["cancel_service"]++
	return b, nil
}

func (s *stock) refund(in refundInput) (Refund, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, ok := s.payments[in.Payment]
	if !ok {
		return Refund{}, fmt.Errorf("payment %q: %w", in.Payment, errNotFound)
	}
	if in.Amount <= 0 || in.Amount > left {
		return Refund{}, fmt.Errorf("amount %d is not within 1 and the %d left of payment %q: %w", in.Amount, left, in.Payment, errInvalid)
	}
	s.payments[in.Payment] = left - in.Amount
	s.refunds++
	s.effects["refund_payment"]++
	return Refund{ID: fmt.Sprintf("R-%d", s.refunds), Payment: in.Payment, Amount: in.Amount, Remaining: left - in.Amount}, nil
}

func (s *stock) deleteCustomer(in deleteInput) (Customer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.customers[in.Customer]
	if !ok {
		return Customer{}, fmt.Errorf("customer %q: %w", in.Customer, errNotFound)
	}
	delete(s.customers, in.Customer)
	s.effects["delete_customer"]++
	return c, nil
}

func (s *stock) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.effects)
}
