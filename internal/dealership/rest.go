package dealership

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// addREST registers the REST surface over the same stock.
func addREST(mux *http.ServeMux, s *stock) {
	mux.HandleFunc("GET /vehicles", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		in := searchInput{Make: q.Get("make"), Model: q.Get("model"), Fuel: q.Get("fuel")}
		if p := q.Get("max_price"); p != "" {
			price, err := strconv.Atoi(p)
			if err != nil || price < 1 {
				http.Error(w, "max_price must be a positive number", http.StatusBadRequest)
				return
			}
			in.MaxPrice = price
		}
		reply(w, http.StatusOK, searchOutput{s.search(in)}, nil)
	})
	mux.HandleFunc("GET /vehicles/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, err := s.vehicle(r.PathValue("id"))
		reply(w, http.StatusOK, v, err)
	})
	mux.HandleFunc("POST /services", func(w http.ResponseWriter, r *http.Request) {
		var in bookInput
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		body.DisallowUnknownFields()
		if err := body.Decode(&in); err != nil {
			http.Error(w, "the body must be a JSON object with vehicle_id, customer_id, date, kind", http.StatusBadRequest)
			return
		}
		b, err := s.book(in)
		if err == nil {
			w.Header().Set("Location", "/services/"+b.ID)
		}
		reply(w, http.StatusCreated, b, err)
	})
	mux.HandleFunc("DELETE /services/{id}", func(w http.ResponseWriter, r *http.Request) {
		b, err := s.cancel(cancelInput{Booking: r.PathValue("id")})
		reply(w, http.StatusOK, b, err)
	})
}

// reply writes the value, or the status that its error asks for.
func reply(w http.ResponseWriter, status int, value any, err error) {
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errConflict):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		// A failed write means that the client is gone: nobody is left to tell.
		_ = json.NewEncoder(w).Encode(value)
	}
}
